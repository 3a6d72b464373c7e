"""Conversion between transfer syntaxes: the image stays what it is."""

import struct
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import UID
from tests.dicom_files import part10, wheel_file, wheel_files
from tests.gateways.dicom.encoded import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, NATIVE, ct, encode

from medbus.gateways.dicom.comparison import same_elements
from medbus.gateways.dicom.transcoding import TARGETS, NotConvertible, convert, target


def decoded(data: bytes, syntax: str) -> Dataset:
    """A data set that pydicom can take pixels from."""
    dataset = read_dataset(BytesIO(data), is_implicit_VR=syntax == IMPLICIT, is_little_endian=True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    assert isinstance(dataset, Dataset)
    return dataset


@pytest.mark.parametrize("stored", NATIVE)
@pytest.mark.parametrize("wanted", TARGETS)
def test_uncompressed_data_sets_are_the_same_in_every_encoding(stored: str, wanted: str) -> None:
    item = Dataset()
    item.CodeMeaning = "Schl\u00fcssel"
    image = ct(
        SpecificCharacterSet="ISO_IR 192",
        PatientName="M\u00fcller^\u5c71\u7530",
        ConceptNameCodeSequence=[item],
    )
    image.private_block(0x0009, "ACME", create=True).add_new(1, "LO", "private")
    data = encode(image, stored)
    converted = convert(data, stored, wanted)
    assert same_elements(converted, wanted, data, stored)


def test_bytes_that_are_in_no_character_set_stay_as_they_are() -> None:
    def element(group: int, number: int, value: bytes) -> bytes:
        return struct.pack("<HHI", group, number, len(value)) + value

    data = (
        element(0x0008, 0x0005, b"ISO_IR 192")
        + element(0x0008, 0x0018, b"1.2.3\0")
        + element(0x0010, 0x0010, b"M\xfcller^\xff\xfe ")
        + element(0x0018, 0x0050, b"not a number")
    )
    explicit = convert(data, IMPLICIT, EXPLICIT)
    assert b"PN\x0a\x00M\xfcller^\xff\xfe " in explicit
    assert b"DS\x0c\x00not a number" in explicit
    assert convert(explicit, EXPLICIT, IMPLICIT) == data


@pytest.mark.filterwarnings("ignore")
def test_real_files_have_the_same_pixels_after_conversion() -> None:
    """Of every kind: signed, YBR, palette, multi-frame, 1 to 32 bits, JPEG, JPEG-LS, JPEG 2000, RLE."""
    compared = 0
    for path in wheel_files():
        try:
            original = dcmread(path)
            before = original.pixel_array
            stored, data = part10(path)
        except (InvalidDicomError, AttributeError, ValueError, RuntimeError):
            continue  # no pixels, or none that pydicom can decode
        for wanted in (EXPLICIT, IMPLICIT):
            if target(stored, [wanted]) is None:
                continue
            try:
                image = decoded(convert(data, stored, wanted), wanted)
            except NotConvertible as error:
                known = ("big endian", "read-only")  # pixels over 16 bits; a fault of pydicom's decoder
                if not any(each in str(error) for each in known):
                    raise
                continue
            assert np.array_equal(image.pixel_array, before), path.name
            assert image.SOPInstanceUID == original.SOPInstanceUID, path.name
            assert image.get("PixelRepresentation") == original.get("PixelRepresentation"), path.name
            compared += stored != wanted
    assert compared > 100


def test_colours_are_not_converted() -> None:
    stored, data = part10(wheel_file("SC_rgb_dcmtk_+eb+cy+np.dcm"))
    original = dcmread(wheel_file("SC_rgb_dcmtk_+eb+cy+np.dcm"))
    assert original.PhotometricInterpretation == "YBR_FULL_422"
    assert decoded(convert(data, stored, EXPLICIT), EXPLICIT).PhotometricInterpretation == "YBR_FULL"


def test_what_is_accepted_as_stored_is_sent_as_stored() -> None:
    jpeg = "1.2.840.10008.1.2.4.70"
    assert target(jpeg, [EXPLICIT, jpeg]) == jpeg
    assert target(jpeg, [IMPLICIT, EXPLICIT]) == EXPLICIT
    assert target(jpeg, [IMPLICIT]) == IMPLICIT
    assert target(IMPLICIT, [DEFLATED]) == DEFLATED
    assert target(EXPLICIT, [jpeg]) is None, "nothing is compressed"
    assert target(EXPLICIT, [BIG_ENDIAN]) is None
    assert target("1.2.840.10008.1.2.4.100", [EXPLICIT]) is None, "video"
    assert target("1.2.826.0.1.3680043.10.999.1", [EXPLICIT]) is None, "private"
    assert target(EXPLICIT, []) is None


@pytest.mark.filterwarnings("ignore")
def test_what_can_not_be_converted_is_an_error() -> None:
    with pytest.raises(NotConvertible):
        convert(b"no deflate", DEFLATED, EXPLICIT)
    with pytest.raises(NotConvertible):
        convert(encode(ct()), EXPLICIT, BIG_ENDIAN)


def test_too_many_pixels_are_not_decoded() -> None:
    huge = ct(Rows=60000, Columns=60000, NumberOfFrames="100")
    huge["PixelData"].is_undefined_length = True
    huge.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x00\x00\x00\x00"
    with pytest.raises(NotConvertible, match="too many to decode"):
        convert(encode(huge), "1.2.840.10008.1.2.4.70", EXPLICIT)
