"""TLS for DICOM connections, after BCP 195 (PS3.15 B.12)."""

import ssl
from pathlib import Path

from medbus.gateways.dicom.settings import TlsSettings
from medbus.schemas.errors import SettingsError


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """For accepting connections.

    Raises:
        SettingsError: a file can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED if settings.client_required else ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"The TLS files can't be used: {error}.", "Check that certificate, key and roots are PEM files."
        ) from error
    return context


def client_context(
    roots: Path, *, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """For opening connections.

    Args:
        roots: PEM file with the roots of servers' certificates.
        certificate: PEM file with this side's certificate, for servers that want one.
        key: PEM file with its private key.

    Raises:
        SettingsError: a file can't be used.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(roots))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"The TLS files can't be used: {error}.", "Check that they are PEM.") from error
    return context
