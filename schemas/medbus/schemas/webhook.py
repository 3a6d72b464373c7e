"""Secrets under which the webhooks of subscribers are signed: all derive from one key of the installation.

A subscriber's secret is the HMAC-SHA256 of `webhook:` and its id under the key, in hexadecimal. So nothing
has to be stored for a subscriber, and one that knows its own secret knows no other.
"""

import hashlib
import hmac
import re
import secrets

from medbus.schemas.errors import SettingsError

KEY_BYTES = 32
"""The length of a key: that of the digest, as RFC 2104 section 3 advises."""

_KEY = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")


def new_key() -> str:
    """A new key, as its file has it: random, in lower-case hexadecimal."""
    return secrets.token_hex(KEY_BYTES)


def key_of(text: str) -> bytes:
    """The key in the text of its file.

    Raises:
        SettingsError: there is none in it. The text is not told.
    """
    if not _KEY.fullmatch(text.strip()):
        raise SettingsError(
            f"A key of webhooks is {2 * KEY_BYTES} characters of lower-case hexadecimal, and this is none.",
            f"Make one with `python -c 'import secrets; print(secrets.token_hex({KEY_BYTES}))'`.",
        )
    return bytes.fromhex(text.strip())


def secret(key: bytes, subscriber: str) -> str:
    """The secret of a subscriber's webhook, in hexadecimal.

    Args:
        key: of the installation.
        subscriber: its id.
    """
    return hmac.new(key, b"webhook:" + subscriber.encode(), hashlib.sha256).hexdigest()
