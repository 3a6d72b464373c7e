"""Any bytes at all, read at once and in pieces, are the same PDUs, or the same complaint.

With atheris: `python -m tests.gateways.dicom.upper.fuzz`, with libFuzzer's options. The tests call the
same function with inputs of hypothesis.
"""

import importlib
import sys
from collections.abc import Iterable
from contextlib import suppress

from medbus.gateways.dicom.upper.pdu import MalformedPdu, Pdu, decode, encode
from medbus.gateways.dicom.upper.stream import Fragment, Inbound

Content = tuple[int, bool, bool, bytes]
LONGEST = 1000


def read(data: bytes, steps: Iterable[int], size: int) -> tuple[list[Pdu | Content], int | None]:
    """What comes out of a stream, and the reason why it was refused, or None.

    Neighbouring parts of a message are put together, since where they are cut depends on the steps.
    """
    inbound = Inbound(size=size, longest_pdu=LONGEST, longest_associate=LONGEST)
    found: list[Pdu | Content] = []
    position, sizes = 0, iter(steps)
    try:
        while position < len(data):
            room = inbound.buffer()
            assert len(room) > 0
            count = min(len(room), len(data) - position, next(sizes, 1 << 30))
            room[:count] = data[position : position + count]
            position += count
            for item in inbound.received(count):
                _append(found, item)
    except MalformedPdu as error:
        _nothing_more_comes(inbound)
        return found, error.reason
    finally:
        assert inbound.size <= max(size, LONGEST + 6)
    return found, None


def _append(found: list[Pdu | Content], item: Pdu | Fragment) -> None:
    if not isinstance(item, Fragment):
        found.append(item)
        return
    before = found[-1] if found else None
    data = bytes(item.data)
    if isinstance(before, tuple) and before[:3] == (item.context_id, item.command, False):
        data = before[3] + data
        found.pop()
    found.append((item.context_id, item.command, item.last, data))


def _nothing_more_comes(inbound: Inbound) -> None:
    for _ in range(2):
        assert len(inbound.buffer()) == inbound.size
        assert list(inbound.received(inbound.size)) == []


def one_input(data: bytes) -> None:
    """Raises if anything but PDUs or a MalformedPdu comes of it; the first 8 bytes say how it is cut."""
    head, rest = data[:8], data[8:]
    whole = read(rest, (), 4096)
    assert read(rest, [1] * len(rest), 16) == whole
    assert read(rest, [each % 61 + 1 for each in head] * (len(rest) // 8 + 1), 64) == whole
    for kind in (1, 2, head[0] if head else 0):
        with suppress(MalformedPdu):
            pdu = decode(kind, rest)
            with suppress(UnicodeEncodeError):  # names may hold what is not ASCII; those are not sent
                again = encode(pdu)
                assert decode(kind, memoryview(again)[6:]) == pdu


def main() -> None:
    """Fuzz until an error is found, or until what the options say."""
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
