"""The first part of a multipart body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.gateways.collector.multipart import MOST_HEADER, FirstPart, Malformed, boundary_of

BOUNDARY = "ab-12"
DELIMITER = b"--ab-12"


def taken(body: bytes, cuts: list[int]) -> tuple[bytes, bool]:
    part = FirstPart(BOUNDARY)
    found, start = b"", 0
    for end in [*sorted(cut % (len(body) + 1) for cut in cuts), len(body)]:
        found += part.feed(body[start:end])
        start = end
    return found, part.done


@given(
    contents=st.binary(max_size=300).filter(lambda each: DELIMITER not in b"\r\n" + each),
    header=st.sampled_from([b"", b"Content-Type: application/dicom\r\n", b"A: b\r\nC: d\r\n"]),
    preamble=st.sampled_from([b"", b"\r\n", b"to be ignored\r\n"]),
    after=st.sampled_from([b"--", b"--\r\nepilogue", b"\r\nContent-Type: a/b\r\n\r\nsecond\r\n--ab-12--"]),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
)
def test_it_comes_whole_however_the_body_is_cut(
    contents: bytes, header: bytes, preamble: bytes, after: bytes, cuts: list[int]
) -> None:
    body = preamble + DELIMITER + b"\r\n" + header + b"\r\n" + contents + b"\r\n" + DELIMITER + after
    assert taken(body, cuts) == (contents, True)


@given(cut=st.integers(1, 60))
def test_a_body_that_ends_early_is_told(cut: int) -> None:
    body = DELIMITER + b"\r\nContent-Type: application/dicom\r\n\r\ncontents\r\n" + DELIMITER
    part = FirstPart(BOUNDARY)
    given_out = part.feed(body[: len(body) - cut])
    assert b"contents".startswith(given_out)
    with pytest.raises(Malformed):
        part.finish()


def test_a_part_that_does_not_begin_takes_no_memory() -> None:
    part = FirstPart(BOUNDARY)
    assert part.feed(bytes(MOST_HEADER - 2)) == b""
    with pytest.raises(Malformed):
        part.feed(b"\0")


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/related; boundary=abc", "abc"),
        ('multipart/related; type="application/dicom"; boundary="a b=c"', "a b=c"),
        ('Multipart/Related;BOUNDARY="x"', "x"),
        ("application/dicom", None),
        ("", None),
    ],
)
def test_the_boundary(content_type: str, boundary: str | None) -> None:
    assert boundary_of(content_type) == boundary


def test_a_multipart_type_without_boundary_is_malformed() -> None:
    with pytest.raises(Malformed):
        boundary_of("multipart/related; type=application/dicom")
