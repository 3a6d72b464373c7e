"""The network side on pynetdicom. Only this package knows that library's types.

pynetdicom's switches are of the process, so they are set here, before anything of it is used.
"""

from pynetdicom import _config

MAXIMUM_PDU = 256 * 1024
"""The longest P-DATA-TF that this side asks for, in bytes."""


def configure() -> None:
    """Set pynetdicom's switches."""
    # `messages` puts images together in bounded memory; should pynetdicom itself ever do it, then in a file.
    _config.STORE_RECV_CHUNKED_DATASET = True
    # Nothing that a modality sends is refused for being unknown.
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    # Log lines of every message cost more than the message.
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False


configure()
