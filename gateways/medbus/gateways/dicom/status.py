"""Status codes of DIMSE responses (PS3.7 Annex C, PS3.4 Annexes B, C and J)."""

from enum import IntEnum
from typing import Self

from medbus.schemas.errors import MedbusError

COMMENT_LENGTH = 64
"""Error Comment (0000,0902) is an LO: at most 64 characters."""


class Code(IntEnum):
    """The status codes that this gateway gives, and those of others that it looks for."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    NO_SUCH_ARGUMENT = 0x0114
    INVALID_ARGUMENT_VALUE = 0x0115
    CLASS_INSTANCE_CONFLICT = 0x0119
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORIZED = 0x0124
    UNRECOGNIZED_OPERATION = 0x0211
    RESOURCE_LIMITATION = 0x0213
    OUT_OF_RESOURCES = 0xA700
    UNABLE_TO_COUNT_MATCHES = 0xA701
    UNABLE_TO_PERFORM_SUBOPERATIONS = 0xA702
    MOVE_DESTINATION_UNKNOWN = 0xA801
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    SUBOPERATIONS_COMPLETE_WITH_FAILURES = 0xB000
    CANNOT_UNDERSTAND = 0xC000
    CANCEL = 0xFE00
    PENDING = 0xFF00
    PENDING_SOME_KEYS_NOT_SUPPORTED = 0xFF01


IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS = Code.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
"""The same number, as query/retrieve names it (PS3.4 C.4.1.1.4)."""

UNABLE_TO_PROCESS = Code.CANNOT_UNDERSTAND
"""The same number, as query/retrieve names it (PS3.4 C.4.1.1.4)."""


def is_pending(status: int | None) -> bool:
    """Whether more responses follow one with this status (PS3.7 C.1)."""
    return status in (Code.PENDING, Code.PENDING_SOME_KEYS_NOT_SUPPORTED)


def is_warning(status: int) -> bool:
    """Whether a C-STORE with this status was stored all the same (PS3.7 C.3)."""
    return status in (0x0001, 0x0107, 0x0116) or status >> 12 == 0xB


class Refused(MedbusError):
    """A DIMSE request can't be done; the peer gets the status and, as Error Comment, the message.

    Args:
        code: the status code.
        comment: what is wrong; only its first 64 characters reach the peer.
    """

    def __init__(self, code: int, comment: str) -> None:
        super().__init__(comment)
        self.code = code

    @property
    def outcome(self) -> "Outcome":
        return Outcome.refused(self.code, self.message)


class Postponed(Refused):
    """The same can't be done now, but perhaps later: the blob store, the catalog or the log is away."""


class Unanswerable(MedbusError):
    """Nobody knows whether a request was carried out, so it can be neither confirmed nor refused.

    The association is aborted; the peer sends again what got no answer, and nothing happens twice.
    """


class Outcome:
    """How a DIMSE request ended: a status code and an Error Comment, which is empty on success."""

    __slots__ = ("code", "comment")

    def __init__(self, code: int = Code.SUCCESS, comment: str = "") -> None:
        self.code = int(code)
        self.comment = comment

    @classmethod
    def refused(cls, code: int, comment: str) -> Self:
        """A failure; the comment is made fit for an LO in the default repertoire."""
        plain = comment.encode("ascii", "replace").decode().replace("\\", "/")
        return cls(code, plain[:COMMENT_LENGTH])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outcome) and (self.code, self.comment) == (other.code, other.comment)

    def __hash__(self) -> int:
        return hash((self.code, self.comment))

    def __repr__(self) -> str:
        return f"Outcome({self.code:04X}H, {self.comment!r})"


SUCCESS = Outcome()
