"""DIMSE messages as P-DATA-TF PDUs (PS3.8 9.3.5, Annex E). Pure."""

from collections.abc import Iterator
from typing import Final

from medbus.gateways.dicom import command as commands
from medbus.gateways.dicom.command import Command
from medbus.gateways.dicom.network import MAXIMUM_PDU
from medbus.gateways.dicom.network.connection import Buffer
from medbus.gateways.dicom.status import Code, Outcome
from medbus.gateways.dicom.upper.stream import COMMAND, LAST, data_header

LONGEST_COMMAND: Final = 64 * 1024
LONGEST_IDENTIFIER: Final = 16 * 1024 * 1024
"""Bytes: a longer one is no command set, or data set but an image's, of a peer that means well."""

_PDV_HEADER: Final = 6
"""Length, context id and control header of a PDV, counted in the maximum length (PS3.8 D.1)."""


def fragment_length(maximum: int) -> int:
    """Bytes of a message that go into one P-DATA-TF.

    Args:
        maximum: the longest that the peer takes, in bytes; 0: any.
    """
    return max(min(maximum or MAXIMUM_PDU, MAXIMUM_PDU) - _PDV_HEADER, 1)


def command_pdus(context_id: int, command: Command, length: int) -> list[Buffer]:
    """A command set, in PDUs with so many bytes of it each."""
    return list(pdus(context_id, COMMAND, commands.encode(command), length))


def data_pdus(context_id: int, data: Buffer, length: int, *, last: bool = True) -> Iterator[Buffer]:
    """A data set, or a part of one, in PDUs with so many bytes of it each; views of it, nothing is copied.

    Args:
        last: whether the data set ends with it.
    """
    return pdus(context_id, 0, data, length, last=last)


def pdus(context_id: int, control: int, data: Buffer, length: int, *, last: bool = True) -> Iterator[Buffer]:
    """Headers and views in turn."""
    size = len(data)
    if size <= length:
        yield data_header(context_id, control | (LAST if last else 0), size)
        yield data
        return
    view = memoryview(data)
    header = data_header(context_id, control, length)
    whole = (size - 1) // length * length
    for start in range(0, whole, length):
        yield header
        yield view[start : start + length]
    yield data_header(context_id, control | (LAST if last else 0), size - whole)
    yield view[whole:]


def outcome_of(response: Command) -> Outcome:
    """Status and Error Comment of a response."""
    status = Code.PROCESSING_FAILURE if response.status is None else response.status
    return Outcome(status, response.error_comment)


def next_message_id(previous: int) -> int:
    """Message ids are US and run round."""
    return previous % 65535 + 1
