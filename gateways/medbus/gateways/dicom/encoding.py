"""How transfer syntaxes encode data elements (PS3.5 7.1, A; PS3.6 A)."""

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"

UNDEFINED: Final = 0xFFFFFFFF
"""The length of a value that ends with a delimiter."""

LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
"""Value representations with a 32-bit length in explicit VR (PS3.5 7.1.2)."""

SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Those with a 16-bit length."""

BULK_VRS: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"UN"})
"""Those whose long values are bulk data."""


class Encoding(NamedTuple):
    """How the elements of a data set are encoded."""

    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False

    @property
    def transfer_syntax_uid(self) -> str:
        """The plain transfer syntax of elements that are encoded so, once inflated."""
        if self.implicit:
            return IMPLICIT_VR_LITTLE_ENDIAN
        return EXPLICIT_VR_BIG_ENDIAN if self.big_endian else EXPLICIT_VR_LITTLE_ENDIAN


_ENCODINGS: Final = {
    IMPLICIT_VR_LITTLE_ENDIAN: Encoding(implicit=True),
    "1.2.840.113619.5.2": Encoding(implicit=True),  # GE private: implicit, pixel data in big endian
    EXPLICIT_VR_BIG_ENDIAN: Encoding(big_endian=True),
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Encoding(deflated=True),
    "1.2.840.10008.1.2.4.95": Encoding(deflated=True),  # JPIP Referenced Deflate
    "1.2.840.10008.1.2.4.205": Encoding(deflated=True),  # JPIP HTJ2K Referenced Deflate
}


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """The encoding that a transfer syntax prescribes; one that is not known is explicit VR little endian,
    as all that were ever added are (PS3.5 A.4)."""
    return _ENCODINGS.get(transfer_syntax_uid, Encoding())


def is_known(tag: int) -> bool:
    """Whether the data dictionary has the tag (PS3.6 6)."""
    return dictionary_has_tag(tag)


@lru_cache(maxsize=8192)
def vr_of(tag: int) -> bytes:
    """The value representation of a tag by the data dictionary (PS3.6 6); UN if it's private or unknown.

    Where the dictionary leaves a choice: the one that can be bulk data, else the unsigned one.
    """
    if not tag & 0xFFFF:
        return b"UL"
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return b"UN"
    if " or " in vr:
        return b"OW" if "OW" in vr else b"US"
    return vr.encode() if len(vr) == 2 else b"UN"


def recognised(first: bytes | memoryview, stated: Encoding) -> Encoding | None:
    """How a data set is in fact encoded, by its first eight bytes.

    Senders do err: the encoding stated is taken if the bytes allow it, else the one that they look like.

    Returns:
        None if the bytes look like the beginning of no data set.
    """
    for encoding in (stated, Encoding(), Encoding(implicit=True), Encoding(big_endian=True)):
        group, element = struct.unpack_from(">HH" if encoding.big_endian else "<HH", first)
        tag = group << 16 | element
        named = bytes(first[4:6])
        explicit = named in SHORT_VRS or named in LONG_VRS
        if 0x0002 <= group <= 0x00FF and (is_known(tag) or element == 0) and explicit != encoding.implicit:
            return encoding
    return None
