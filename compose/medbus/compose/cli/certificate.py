"""TLS client certificates as credentials."""

import hashlib
import ssl
from pathlib import Path

from medbus.schemas.errors import SettingsError

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def digest(file: Path) -> str:
    """SHA-256 in hexadecimal of the first certificate in a PEM file, in DER.

    Raises:
        SettingsError: there is none in it.
    """
    try:
        text = file.read_text()
        begin = text.index(_BEGIN)
        end = text.index(_END, begin) + len(_END)
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[begin:end])).hexdigest()
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{file} holds no certificate: {error}.",
            f"Give a PEM file that begins {_BEGIN}.",
        ) from error
