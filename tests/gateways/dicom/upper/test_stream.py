"""PDUs out of a stream: in pieces of any size, from peers that mean well and others."""

import struct
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_items import PresentationDataValueItem
from pynetdicom.pdu_primitives import P_DATA
from tests.gateways.dicom.upper.test_pdu import REQUEST, pdus

from medbus.gateways.dicom.upper.pdu import MalformedPdu, Pdu, ReleaseRequest, encode
from medbus.gateways.dicom.upper.stream import COMMAND, LAST, Fragment, Inbound, data_header

Content = tuple[int, bool, bool, bytes]


def collect(inbound: Inbound, data: bytes, steps: Iterable[int]) -> list[Pdu | Content]:
    """Everything that comes out; parts of one fragment are put together."""
    found: list[Pdu | Content] = []
    position, sizes = 0, iter(steps)
    while position < len(data):
        room = inbound.buffer()
        assert len(room) > 0
        count = min(len(room), len(data) - position, next(sizes, 1 << 30))
        room[:count] = data[position : position + count]
        position += count
        for item in inbound.received(count):
            if isinstance(item, Fragment):
                found.append((item.context_id, item.command, item.last, bytes(item.data)))
            else:
                found.append(item)
    return found


def joined(found: Sequence[Pdu | Content]) -> list[Pdu | Content]:
    """With the parts of a message in one."""
    whole: list[Pdu | Content] = []
    held = b""
    for item in found:
        if isinstance(item, tuple):
            context_id, command, last, data = item
            held += data
            if last:
                whole.append((context_id, command, last, held))
                held = b""
        else:
            whole.append(item)
    return whole


def message(context_id: int, control: int, data: bytes, length: int) -> bytes:
    """A message in PDUs with so many bytes each."""
    pieces = [data[at : at + length] for at in range(0, len(data), length)] or [b""]
    return b"".join(
        data_header(context_id, control | (LAST if number == len(pieces) else 0), len(piece)) + piece
        for number, piece in enumerate(pieces, start=1)
    )


items = st.lists(
    pdus.map(lambda each: (encode(each), each))
    | st.tuples(st.integers(0, 255), st.booleans(), st.binary(max_size=400), st.integers(1, 100)).map(
        lambda each: (message(each[0], each[1], each[2], each[3]), (each[0], each[1], True, each[2]))
    ),
    max_size=6,
)


@given(items, st.lists(st.integers(1, 50), max_size=60), st.sampled_from((16, 64, 100_000)))
def test_pieces_of_any_size_give_the_same(
    sent: list[tuple[bytes, Pdu | Content]], steps: list[int], size: int
) -> None:
    data = b"".join(encoded for encoded, _ in sent)
    assert joined(collect(Inbound(size=size), data, steps)) == [expected for _, expected in sent]


def test_a_byte_at_a_time() -> None:
    data = encode(REQUEST) + message(1, COMMAND, b"command", 100) + message(1, 0, bytes(1000), 100)
    data += encode(ReleaseRequest())
    found = joined(collect(Inbound(), data, [1] * len(data)))
    assert found == [REQUEST, (1, True, True, b"command"), (1, False, True, bytes(1000)), ReleaseRequest()]


def test_several_values_in_one_pdu() -> None:
    values = struct.pack(">IBB", 5, 1, COMMAND | LAST) + b"abc" + struct.pack(">IBB", 4, 3, 0) + b"de"
    found = collect(Inbound(), struct.pack(">BxI", 4, len(values)) + values, [])
    assert found == [(1, True, True, b"abc"), (3, False, False, b"de")]


def test_an_empty_last_fragment() -> None:
    assert collect(Inbound(), data_header(1, LAST, 0), []) == [(1, False, True, b"")]


def test_a_pdu_that_is_longer_than_memory_is_handed_out_as_it_comes() -> None:
    inbound = Inbound()
    size = 2**32 - 7
    room = inbound.buffer()
    room[:12] = struct.pack(">BxIIBB", 4, size + 6, size + 2, 1, LAST)
    assert list(inbound.received(12)) == []
    got = 0
    for _ in range(200):
        count = len(inbound.buffer())
        for item in inbound.received(count):
            assert isinstance(item, Fragment)
            assert not item.last
            got += len(item.data)
    assert got == 200 * inbound.size


def test_data_are_not_copied() -> None:
    inbound = Inbound()
    header = data_header(1, LAST, 1000)
    room = inbound.buffer()
    room[:12] = header
    assert list(inbound.received(12)) == []
    room = inbound.buffer()
    room[:1000] = bytes(1000)
    [item] = inbound.received(1000)
    assert isinstance(item, Fragment)
    room[0] = 7
    assert item.data[0] == 7


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00\0\0\0\0\0", 1),
        (b"\x08\0\0\0\0\0", 1),
        (b"GET / HTTP/1.1", 1),
        (b"\x04\0\0\0\0\x05", 6),
        (struct.pack(">BxIIBB", 4, 6, 1, 1, 0), 6),
        (struct.pack(">BxIIBB", 4, 6, 3, 1, 0), 6),
        (struct.pack(">BxIIBB", 4, 10, 4, 1, 0) + b"ab" + b"\0\0", 6),
        (struct.pack(">BxI", 1, 1 << 30), 6),
        (struct.pack(">BxI", 7, 5), 6),
        (struct.pack(">BxI", 4, 2001), 6),
    ],
    ids=repr,
)
def test_nonsense_is_refused_as_soon_as_it_is_seen(data: bytes, reason: int) -> None:
    with pytest.raises(MalformedPdu) as raised:
        collect(Inbound(longest_pdu=2000), data, [])
    assert raised.value.reason == reason


def test_after_nonsense_nothing_more_comes_out_and_there_is_always_room() -> None:
    """So a connection can be read until its peer closes it, even if the nonsense filled the buffer."""
    inbound = Inbound(size=64)
    room = inbound.buffer()
    room[:] = bytes(64)
    with pytest.raises(MalformedPdu):
        list(inbound.received(64))
    room = inbound.buffer()
    assert len(room) == 64
    room[:10] = encode(ReleaseRequest())
    assert list(inbound.received(10)) == []


def test_what_came_before_nonsense_is_handed_out() -> None:
    inbound = Inbound()
    data = encode(ReleaseRequest()) + bytes(6)
    inbound.buffer()[: len(data)] = data
    arrived = inbound.received(len(data))
    assert next(arrived) == ReleaseRequest()
    with pytest.raises(MalformedPdu):
        next(arrived)


def test_bytes_count_even_if_nobody_looks_at_what_they_make() -> None:
    inbound = Inbound()
    data = encode(ReleaseRequest())
    inbound.buffer()[:3] = data[:3]
    inbound.received(3)
    inbound.buffer()[:7] = data[3:]
    assert list(inbound.received(7)) == [ReleaseRequest()]


def test_an_association_that_never_ends_takes_no_more_memory_than_it_announces() -> None:
    inbound = Inbound(size=64, longest_associate=500)
    room = inbound.buffer()
    room[:6] = struct.pack(">BxI", 1, 500)
    assert list(inbound.received(6)) == []
    for _ in range(499):
        inbound.buffer()[:1] = b"\0"
        assert list(inbound.received(1)) == []
    assert inbound.size == 506
    with pytest.raises(MalformedPdu):
        collect(Inbound(longest_associate=500), struct.pack(">BxI", 1, 501), [])


def test_pdus_of_pynetdicom_with_several_values() -> None:
    sent = P_DATA_TF()
    sent.from_primitive(P_DATA())
    for context_id, value in ((1, b"\x03command"), (1, b"\x00data"), (3, b"\x02end")):
        item = PresentationDataValueItem()
        item.presentation_context_id, item.presentation_data_value = context_id, value
        sent.presentation_data_value_items.append(item)
    assert collect(Inbound(), sent.encode(), []) == [
        (1, True, True, b"command"),
        (1, False, False, b"data"),
        (3, False, True, b"end"),
    ]


def test_pynetdicom_reads_our_data() -> None:
    read = P_DATA_TF()
    read.decode(data_header(5, COMMAND | LAST, 7) + b"command")
    [item] = read.presentation_data_value_items
    assert (item.presentation_context_id, item.presentation_data_value) == (5, b"\x03command")
