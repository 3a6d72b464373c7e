"""DCMTK's clients: every transfer syntax that storescu can propose for images, and PDUs of all sizes."""

from pathlib import Path

import pytest
from tests.gateways.dicom.real import received
from tests.interoperability.files import Make, converted, renewed, slices, uids, unsigned
from tests.interoperability.programs import run, storescu, study_key
from tests.interoperability.serving import DESTINATION, Serving

IMPLICIT, LITTLE, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
JPEG_8, JPEG_12, JPEG_LOSSLESS = (f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 70))
JPEG_LS_LOSSLESS, JPEG_LS, JPEG_2000_LOSSLESS, JPEG_2000 = (
    f"1.2.840.10008.1.2.4.{number}" for number in (80, 81, 90, 91)
)

SMALLEST, USUAL, LARGEST = 4096, 16384, 131072
"""Lengths of PDUs that DCMTK can announce, and to which it can keep."""

CT = renewed("CT_small.dcm")

PROPOSALS = [
    pytest.param("-xi", IMPLICIT, renewed("MR_small_implicit.dcm"), id="implicit"),
    pytest.param("-xe", LITTLE, CT, id="little-endian"),
    pytest.param("-xb", BIG, renewed("MR_small_bigendian.dcm"), id="big-endian"),
    pytest.param("-xd", DEFLATED, renewed("image_dfl.dcm"), id="deflated"),
    pytest.param("-xr", RLE, renewed("MR_small_RLE.dcm"), id="rle"),
    pytest.param("-xy", JPEG_8, renewed("SC_rgb_small_odd_jpeg.dcm"), id="jpeg-8"),
    pytest.param("-xx", JPEG_12, renewed("JPGExtended.dcm"), id="jpeg-12"),
    pytest.param("-xs", JPEG_LOSSLESS, renewed("SC_rgb_jpeg_gdcm.dcm"), id="jpeg-lossless-color"),
    pytest.param("-xs", JPEG_LOSSLESS, converted(CT, "dcmcjpeg", "+e1"), id="jpeg-lossless"),
    pytest.param("-xt", JPEG_LS_LOSSLESS, renewed("MR_small_jpeg_ls_lossless.dcm"), id="jpeg-ls-lossless"),
    pytest.param("-xu", JPEG_LS, converted(unsigned, "dcmcjpls", "+en", "+un"), id="jpeg-ls"),
    pytest.param("-xv", JPEG_2000_LOSSLESS, renewed("MR_small_jp2klossless.dcm"), id="jpeg-2000-lossless"),
    pytest.param("-xw", JPEG_2000, renewed("693_J2KI.dcm"), id="jpeg-2000"),
]


@pytest.mark.parametrize(("option", "syntax", "make"), PROPOSALS)
def test_what_storescu_proposes_is_stored_as_it_comes(
    service: Serving, tmp_path: Path, option: str, syntax: str, make: Make
) -> None:
    file = make(tmp_path)
    storescu(service.port, [file], "-R", option)
    service.same(file, syntax)


@pytest.mark.parametrize("options", [("-x=",), ("-x=", "+C"), ("-xs",), ("-xv",)], ids=" ".join)
def test_storescu_may_propose_all_that_it_knows_at_once(
    service: Serving, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Without -R: more than a hundred presentation contexts; with +C each has several transfer syntaxes."""
    file = CT(tmp_path)
    storescu(service.port, [file], *options)
    service.same(file, LITTLE)


@pytest.mark.parametrize("length", [SMALLEST, USUAL, LARGEST])
def test_storescu_sends_in_pdus_of_any_length(service: Serving, tmp_path: Path, length: int) -> None:
    files = slices(tmp_path)
    storescu(service.port, files, "-R", "-xe", "-pdu", length, "--max-send-pdu", length)
    for file in files:
        service.same(file, LITTLE)


@pytest.mark.parametrize("length", [SMALLEST, USUAL, LARGEST])
def test_getscu_gets_in_pdus_of_any_length(service: Serving, tmp_path: Path, length: int) -> None:
    files = slices(tmp_path / "sent")
    study, instances = uids(*files)
    storescu(service.port, files, "-R", "-xe")
    stored = service.stored(*instances)
    got = tmp_path / "got"
    got.mkdir()
    run("getscu", service.port, *study_key(study), "+B", "-pdu", length, folder=got)
    assert received(got) == stored


@pytest.mark.parametrize("length", [SMALLEST, USUAL, LARGEST])
def test_movescu_has_images_sent_to_itself_in_pdus_of_any_length(
    service: Serving, tmp_path: Path, length: int
) -> None:
    files = slices(tmp_path / "sent")
    study, instances = uids(*files)
    storescu(service.port, files, "-R", "-xe")
    stored = service.stored(*instances)
    moved = tmp_path / "moved"
    moved.mkdir()
    port = service.destinations[DESTINATION]
    own = ("-aem", DESTINATION, "+P", port, "+B", "-pdu", length)
    run("movescu", service.port, *study_key(study), *own, folder=moved)
    assert received(moved) == stored
