"""DIMSE messages as P-DATA-TF PDUs (PS3.8 9.3.5, Annex E). Pure."""

from collections.abc import Iterator

from medbus.gateways.dicom import command as commands
from medbus.gateways.dicom.command import Command
from medbus.gateways.dicom.network.connection import Buffer
from medbus.gateways.dicom.upper.stream import COMMAND, LAST, data_header


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
