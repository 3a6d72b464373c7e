"""The format of segments: what a header says, and which records a segment has."""

from uuid import UUID

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from medbus.blobs.buffers import PAGE, rounded
from medbus.blobs.segment import Record, pack, scan, unpack

SEGMENT = UUID(int=7)
OTHER = UUID(int=8)
EXPLICIT = "1.2.840.10008.1.2.1"

records = st.builds(
    Record,
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**63),
    st.from_regex(r"[0-9.]{0,64}", fullmatch=True),
)


def segment(contents: list[bytes]) -> bytes:
    """A segment of blobs."""
    data = b""
    for content in contents:
        header = pack(Record(blake3(content).digest(), len(content), EXPLICIT), SEGMENT, len(data))
        data += header + content.ljust(rounded(len(content)), b"\0")
    return data


def digests(data: bytes, *, start: int = 0, beyond_damage: bool = False) -> list[bytes]:
    def read(offset: int) -> bytes:
        return data[offset : offset + PAGE]

    found = scan(read, SEGMENT, start, len(data), beyond_damage=beyond_damage)
    return [record.digest for _, record in found]


@given(record=records, offset=st.integers(0, 2**40))
def test_a_header_is_a_page_that_says_what_comes_after_it(record: Record, offset: int) -> None:
    header = pack(record, SEGMENT, offset)
    assert len(header) == PAGE
    assert unpack(header, SEGMENT, offset) == record


@given(record=records, place=st.integers(0, 139), bit=st.integers(0, 7))
def test_a_header_with_a_wrong_bit_is_none(record: Record, place: int, bit: int) -> None:
    header = bytearray(pack(record, SEGMENT, 0))
    header[place] ^= 1 << bit
    assert unpack(bytes(header), SEGMENT, 0) is None


def test_a_header_is_good_for_its_own_place_only() -> None:
    header = pack(Record(bytes(32), 1, EXPLICIT), SEGMENT, PAGE)
    assert unpack(header, SEGMENT, PAGE) is not None
    assert unpack(header, SEGMENT, 2 * PAGE) is None
    assert unpack(header, OTHER, PAGE) is None


@given(data=st.binary(max_size=300))
def test_anything_else_is_no_header(data: bytes) -> None:
    assert unpack(data, SEGMENT, 0) is None
    assert unpack(data.ljust(PAGE, b"\0"), SEGMENT, 0) is None


CONTENTS = [b"", b"x", bytes(range(256)) * 16, b"y" * (2 * PAGE + 1), b"z" * PAGE]


def test_the_records_are_found_one_after_the_other() -> None:
    data = segment(CONTENTS)
    assert len(data) == PAGE * (1 + 2 + 2 + 4 + 2)
    expected = [blake3(content).digest() for content in CONTENTS]
    assert digests(data) == expected
    assert digests(data, start=3 * PAGE) == expected[2:]
    assert digests(data + bytes(5 * PAGE)) == expected, "what is allocated and not used is no record"


@given(length=st.integers(0, 11 * PAGE))
def test_a_record_that_is_not_all_there_is_none(length: int) -> None:
    data = segment(CONTENTS)
    ends = [PAGE * pages for pages in (1, 3, 5, 9, 11)]
    assert len(digests(data[:length])) == sum(end <= length for end in ends)


def test_a_damaged_header_hides_what_follows_only_from_who_does_not_look_further() -> None:
    data = bytearray(segment(CONTENTS))
    data[3 * PAGE] ^= 1
    expected = [blake3(content).digest() for content in CONTENTS]
    assert digests(bytes(data)) == expected[:2]
    assert digests(bytes(data), beyond_damage=True) == expected[:2] + expected[3:]


def test_no_record_is_passed_over_that_is_finished_while_somebody_looks_beyond_it() -> None:
    """The third has no header at first; before the fourth is looked at it gets one."""
    data = bytearray(segment(CONTENTS))
    header = bytes(data[3 * PAGE : 4 * PAGE])
    data[3 * PAGE : 4 * PAGE] = bytes(PAGE)

    def read(offset: int) -> bytes:
        page = bytes(data[offset : offset + PAGE])
        if offset == 4 * PAGE:
            data[3 * PAGE : 4 * PAGE] = header
        return page

    found = [record.digest for _, record in scan(read, SEGMENT, 0, len(data), beyond_damage=True)]
    assert found == [blake3(content).digest() for content in CONTENTS]
