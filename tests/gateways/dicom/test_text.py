"""Texts in every character set, also in those that are missing, misspelt or false."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dicom_files import charset_files, part10, wheel_file
from tests.gateways.dicom.encoded import EXPLICIT, ct, element, encode

from medbus.gateways.dicom.dataset import read_head
from medbus.gateways.dicom.text import decoded, encodings_of

NAMES = {
    "chrArab.dcm": "قباني^لنزار",
    "chrFren.dcm": "Buc^Jérôme",
    "chrFrenMulti.dcm": "Buc^Jérôme",
    "chrGerm.dcm": "Äneas^Rüdiger",
    "chrGreek.dcm": "Διονυσιος",
    "chrH31.dcm": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32.dcm": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw.dcm": "שרון^דבורה",
    "chrI2.dcm": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti.dcm": "やまだ^たろう",
    "chrJapMultiExplicitIR6.dcm": "やまだ^たろう",
    "chrKoreanMulti.dcm": "김희중",
    "chrRuss.dcm": "Люкceмбypг",  # noqa: RUF001  it mixes alphabets
    "chrX1.dcm": "Wang^XiaoDong=王^小東=",
    "chrX2.dcm": "Wang^XiaoDong=王^小东=",
}
"""The patients of the files that pydicom brings along, by the examples of PS3.5 H to K."""


def test_all_files_with_character_sets_are_named_here() -> None:
    assert {path.name for path in charset_files()} >= set(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_names_of_real_files(name: str) -> None:
    transfer_syntax_uid, data = part10(wheel_file(name))
    assert read_head(data, transfer_syntax_uid).patient.patient_name == NAMES[name]


def test_half_width_kana_ideographic_and_phonetic_name() -> None:
    name = bytes.fromhex(
        "d4cfc0de5ec0dbb33d1b24423b3345441b284a5e1b244242404f3a1b284a3d"
        "1b24422464245e24401b284a5e1b2442243f246d24261b284a"
    )
    data = element(0x00080005, "CS", b"ISO 2022 IR 13\\ISO 2022 IR 87 ")
    dataset = encode(ct(PatientName=None))
    start = dataset.index(b"\x10\x00\x20\x00LO")  # before Patient ID
    head = read_head(data + dataset[:start] + element(0x00100010, "PN", name) + dataset[start:], EXPLICIT)
    assert head.patient.patient_name == (
        "\uff94\uff8f\uff80\uff9e^\uff80\uff9b\uff73"
        "=\u5c71\u7530^\u592a\u90ce"
        "=\u3084\u307e\u3060^\u305f\u308d\u3046"
    )


@pytest.mark.parametrize(
    ("term", "encodings"),
    [
        (b"", ("ascii",)),
        (b"ISO_IR 6", ("ascii",)),
        (b"ISO_IR 100", ("iso8859-1",)),
        (b"ISO-IR 100", ("iso8859-1",)),
        (b"ISO IR 100", ("iso8859-1",)),
        (b"iso_ir100 ", ("iso8859-1",)),
        (b"ISO_2022_IR_100", ("iso8859-1",)),
        (b"ISO8859-1", ("iso8859-1",)),
        (b"ISO_IR 192", ("utf-8",)),
        (b"UTF-8", ("utf-8",)),
        (b"ISO IR-192", ("utf-8",)),
        (b"GB18030", ("gb18030",)),
        (b"GBK\0", ("gbk",)),
        (b"ISO_IR 192\\ISO 2022 IR 87", ("utf-8",)),
        (b"\\ISO 2022 IR 87", ("ascii", "iso2022_jp")),
        (b"ISO 2022 IR 6\\ISO_IR 192\\ISO 2022 IR 149", ("ascii", "euc_kr")),
        (b"ISO_IR 99999", ("ascii",)),
        (b"rot13", ("ascii",)),
        (b"unicode_escape", ("ascii",)),
        (b"\xff\xfe\x00nonsense", ("ascii",)),
    ],
)
def test_terms_and_their_misspellings(term: bytes, encodings: tuple[str, ...]) -> None:
    assert encodings_of(term) == encodings


@pytest.mark.parametrize(
    ("character_set", "data", "text"),
    [
        (b"", "Müller".encode(), "Müller"),  # missing, and it is UTF-8
        (b"", "Müller".encode("latin-1"), "Müller"),  # missing, and it is Latin-1
        (b"ISO_IR 192", "Müller".encode("latin-1"), "Müller"),  # false
        (b"ISO_IR 100", "Müller".encode("latin-1"), "Müller"),
        (b"ISO_IR 192", "王小東".encode(), "王小東"),
        (b"GB18030", "王小东𠀀".encode("gb18030"), "王小东𠀀"),
        (b"GBK", "王小东".encode("gbk"), "王小东"),
        (b"ISO_IR 166", "ไทย".encode("tis-620"), "ไทย"),
        (b"", b"\x1b$B;3ED\x1b(B", "山田"),  # code extensions that are not announced
        (b"ISO 2022 IR 6\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B^A", "山田^A"),
        (b"ISO 2022 IR 6\\ISO 2022 IR 58", b"\x1b$)A\xcd\xf5 A", "王 A"),
        (b"ISO 2022 IR 6", b"A\x1b%Gx", "A%Gx"),  # an escape sequence that there is not
    ],
)
def test_texts(character_set: bytes, data: bytes, text: str) -> None:
    assert decoded(data, encodings_of(character_set), name=True) == text


def test_padding_and_control_characters_are_no_text() -> None:
    assert decoded(b"A\0B\x07C\tD\r\nE \0 ") == "ABC\tD\r\nE"


@given(character_set=st.binary(max_size=40), data=st.binary(max_size=60), name=st.booleans())
def test_whatever_comes_becomes_text_that_every_store_takes(
    character_set: bytes, data: bytes, name: bool
) -> None:
    text = decoded(data, encodings_of(character_set), name=name)
    assert text.encode().decode() == text
    assert "\0" not in text


ALPHABETS = {
    b"ISO_IR 100": "AzÄéñß",
    b"ISO_IR 101": "AzĄłŹő",
    b"ISO_IR 144": "AzЖяў",
    b"ISO_IR 126": "AzΩά",
    b"ISO_IR 138": "Azאת",
    b"ISO_IR 127": "Azبق",
    b"ISO_IR 13": "Azｱﾝﾞ",
    b"ISO_IR 192": "AzÄЖ王한𠀀",
    b"GB18030": "AzÄЖ王한𠀀",
}


@given(st.sampled_from(sorted(ALPHABETS)).flatmap(lambda c: st.tuples(st.just(c), st.text(ALPHABETS[c]))))
def test_what_a_character_set_can_say_is_understood(said: tuple[bytes, str]) -> None:
    character_set, text = said
    (encoding,) = encodings_of(character_set)
    assert decoded(text.encode(encoding), (encoding,)) == text
