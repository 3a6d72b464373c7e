"""The file with the key from which the secrets of webhooks derive: made once, read by whoever signs."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from medbus.compose.settings import Settings
from medbus.schemas import webhook
from medbus.schemas.errors import SettingsError


def read(settings: Settings) -> bytes:
    """The key of the installation.

    Raises:
        SettingsError: the file is not there, can't be read, or holds no key.
    """
    path = settings.webhook_key_file
    try:
        return webhook.key_of(path.read_text())
    except SettingsError as error:
        raise SettingsError(f"In {path}: {error.message}", error.advice) from None
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"The key of webhooks can't be read: {error}.",
            "It is where results are sent from: in the file that the setting webhook_key names, else in "
            "webhook.key of the home.",
        ) from error


def read_or_make(settings: Settings) -> bytes:
    """The key of the installation; the one in the home is made at first use. One that is named by the setting
    must be there: a new one would change every secret.

    Raises:
        SettingsError: the file can't be read or made, or holds no key.
    """
    path = settings.webhook_key_file
    if settings.webhook_key is None and not path.exists():
        try:
            _make(path)
        except OSError as error:
            raise SettingsError(
                f"The key of webhooks can't be made: {error}.", "Choose another home, or set webhook_key."
            ) from error
    return read(settings)


def _make(path: Path) -> None:
    """Make a key that only the owner can read. Of several who make it at once, one wins; nobody ever sees a
    part of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{webhook.new_key()}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
