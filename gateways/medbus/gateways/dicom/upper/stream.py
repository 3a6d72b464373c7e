"""Reads PDUs as their bytes arrive: one buffer, used again and again, and no copies of data.

The fragments of a P-DATA-TF are handed out as they come, as views of the buffer (PS3.8 9.3.5, Annex E).
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from medbus.gateways.dicom.upper import pdu
from medbus.gateways.dicom.upper.errors import UNRECOGNIZED_PDU, MalformedPdu
from medbus.gateways.dicom.upper.pdu import A_ABORT, A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF, Pdu

COMMAND, LAST = 0b01, 0b10
"""Bits of the message control header (PS3.8 E.2)."""

BUFFER: Final = 256 * 1024
LONGEST_ASSOCIATE: Final = 256 * 1024
"""Bytes of an A-ASSOCIATE: 128 contexts with all transfer syntaxes that there are take fewer."""

_PDU: Final = struct.Struct(">BxI")
_PDV: Final = struct.Struct(">IBB")
_DATA: Final = struct.Struct(">BxIIBB")


class Fragment(NamedTuple):
    """A fragment of a message, or a part of one.

    Attributes:
        context_id: of the presentation context.
        command: whether it is of the command set, not of the data set.
        last: whether the command or data set ends with it.
        data: valid until the stream's next `buffer`.
    """

    context_id: int
    command: bool
    last: bool
    data: memoryview


Item = Pdu | Fragment


def data_header(context_id: int, control: int, length: int) -> bytes:
    """The 12 bytes before a fragment that travels alone in a P-DATA-TF.

    Args:
        context_id: of the presentation context.
        control: of COMMAND and LAST, what holds.
        length: of the fragment, in bytes.
    """
    return _DATA.pack(P_DATA_TF, length + 6, length + 2, context_id, control)


class Inbound:
    """Takes what arrives, in pieces of any size, and gives PDUs and fragments.

    Call `buffer`, put bytes into it, call `received` with their number and take all that it gives; again and
    again. After bytes that make no sense there is still a buffer, so that a connection can be read until its
    peer closes it, but nothing comes out any more.

    Args:
        longest_pdu: most bytes of a P-DATA-TF; its fragments are handed out however long it is.
        longest_associate: most bytes of an A-ASSOCIATE-RQ or -AC.
        size: bytes of the buffer.
    """

    def __init__(
        self,
        *,
        longest_pdu: int = 2**32 - 1,
        longest_associate: int = LONGEST_ASSOCIATE,
        size: int = BUFFER,
    ) -> None:
        self._longest_pdu = longest_pdu
        self._longest_associate = longest_associate
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._left = 0  # bytes of the current P-DATA-TF that have not been read
        self._fragment = 0  # bytes of the current PDV that have not been read
        self._context_id = self._control = 0
        self._in_pdv = False
        self._needed = 0
        self._broken = False

    @property
    def size(self) -> int:
        """Bytes of the buffer; it grows for an A-ASSOCIATE only."""
        return len(self._buffer)

    def buffer(self) -> memoryview:
        """Where the next bytes go: there is always room. Fragments handed out before are gone with this."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start:
            rest = self._end - self._start
            # What is left over is a header, or the beginning of an A-ASSOCIATE: few bytes.
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._start, self._end = 0, rest
        if self._needed > len(self._buffer):
            grown = bytearray(self._needed)
            grown[: self._end] = self._view[: self._end]
            self._buffer, self._view = grown, memoryview(grown)
        return self._view[self._end :]

    def received(self, count: int) -> Iterator[Item]:
        """What so many more bytes in the buffer make whole.

        Raises:
            MalformedPdu: they make no sense; from the iterator, once, and after all that came before them.
        """
        if self._broken:
            return iter(())
        self._end += count
        return self._arrived()

    def _arrived(self) -> Iterator[Item]:
        try:
            while (item := self._next()) is not None:
                yield item
        except MalformedPdu:
            self._broken = True
            self._start = self._end = 0
            raise

    def _next(self) -> Item | None:
        while True:
            if self._in_pdv:
                return self._part()
            if self._left:
                if not self._begin_pdv():
                    return None
                continue
            available = self._end - self._start
            if available < _PDU.size:
                return None
            kind, length = _PDU.unpack_from(self._buffer, self._start)
            if kind == P_DATA_TF:
                if not _PDV.size <= length <= self._longest_pdu:
                    raise MalformedPdu(f"A P-DATA-TF of {length} bytes.")
                self._start += _PDU.size
                self._left = length
                continue
            return self._whole(kind, length, available)

    def _whole(self, kind: int, length: int, available: int) -> Pdu | None:
        if not A_ASSOCIATE_RQ <= kind <= A_ABORT:
            raise MalformedPdu(f"There is no PDU of type {kind:02X}H.", UNRECOGNIZED_PDU)
        longest = self._longest_associate if kind in (A_ASSOCIATE_RQ, A_ASSOCIATE_AC) else 4
        if length > longest:
            raise MalformedPdu(f"A PDU of type {kind:02X}H has {length} bytes.")
        if available < _PDU.size + length:
            self._needed = _PDU.size + length
            return None
        self._needed = 0
        start = self._start + _PDU.size
        self._start = start + length
        return pdu.decode(kind, self._view[start : self._start])

    def _begin_pdv(self) -> bool:
        if self._left < _PDV.size:
            raise MalformedPdu("A P-DATA-TF ends within the header of a PDV.")
        if self._end - self._start < _PDV.size:
            return False
        length, self._context_id, self._control = _PDV.unpack_from(self._buffer, self._start)
        if not 2 <= length <= self._left - 4:
            raise MalformedPdu(f"A PDV of {length} bytes where {self._left} are left.")
        self._start += _PDV.size
        self._left -= length + 4
        self._fragment = length - 2
        self._in_pdv = True
        return True

    def _part(self) -> Fragment | None:
        count = min(self._fragment, self._end - self._start)
        if count == 0 and self._fragment:
            return None
        data = self._view[self._start : self._start + count]
        self._start += count
        self._fragment -= count
        whole = not self._fragment
        self._in_pdv = not whole
        control = self._control
        return Fragment(self._context_id, bool(control & COMMAND), whole and bool(control & LAST), data)
