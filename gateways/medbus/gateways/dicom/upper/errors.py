"""What can be wrong with a PDU."""

from typing import Final

from medbus.schemas.errors import MedbusError

REASON_NOT_SPECIFIED: Final = 0
UNRECOGNIZED_PDU: Final = 1
UNEXPECTED_PDU: Final = 2
UNRECOGNIZED_PARAMETER: Final = 4
UNEXPECTED_PARAMETER: Final = 5
INVALID_PARAMETER_VALUE: Final = 6
"""Reasons of an A-ABORT by the provider (PS3.8 Table 9-26)."""


class MalformedPdu(MedbusError):
    """Bytes that are no PDU, or one that says nothing that makes sense.

    Attributes:
        reason: what the A-ABORT says to the peer (PS3.8 Table 9-26).
    """

    def __init__(self, message: str, reason: int = INVALID_PARAMETER_VALUE) -> None:
        super().__init__(message)
        self.reason = reason
