"""Orthanc: it sends what it holds, and takes what it is sent."""

import os
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from bench import orthanc
from bench.orthanc import Orthanc
from pydicom.errors import InvalidDicomError
from tests.interoperability.files import Make, renewed, slices, uids
from tests.interoperability.programs import run, storescu, study_key
from tests.interoperability.serving import AE_TITLE, ORTHANC, Serving, differences

LITTLE, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
JPEG_LOSSLESS, JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"

IMAGES = [
    pytest.param(("-xe", LITTLE, renewed("CT_small.dcm")), id="little-endian"),
    pytest.param(("-xs", JPEG_LOSSLESS, renewed("SC_rgb_jpeg_gdcm.dcm")), id="jpeg-lossless"),
    pytest.param(("-xv", JPEG_2000_LOSSLESS, renewed("MR_small_jp2klossless.dcm")), id="jpeg-2000-lossless"),
    pytest.param(("-xr", RLE, renewed("MR_small_RLE.dcm")), id="rle"),
]


@pytest.fixture(scope="module")
def peer(service: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    program = orthanc.program()
    if program is None:
        if os.environ.get("MEDBUS_REQUIRE_PEERS") == "1":
            pytest.fail(orthanc.INSTALL)
        pytest.skip(orthanc.INSTALL)
    folder = tmp_path_factory.mktemp("orthanc")
    port = service.destinations[ORTHANC]
    with Orthanc(program, folder, {AE_TITLE: service.port}, port=port) as running:
        yield running


@pytest.mark.parametrize("image", IMAGES)
def test_it_sends(service: Serving, peer: Orthanc, tmp_path: Path, image: tuple[str, str, Make]) -> None:
    option, syntax, make = image
    file = make(tmp_path)
    storescu(peer.port, [file], "-R", option, called=orthanc.AE_TITLE)
    study, _ = uids(file)
    run("movescu", peer.port, *study_key(study), "-aem", AE_TITLE, called=orthanc.AE_TITLE)
    service.same(file, syntax)


def test_it_sends_many_pdus(service: Serving, peer: Orthanc, tmp_path: Path) -> None:
    files = slices(tmp_path, 4)
    storescu(peer.port, files, "-R", "-xe", called=orthanc.AE_TITLE)
    study, _ = uids(*files)
    run("movescu", peer.port, *study_key(study), "-aem", AE_TITLE, called=orthanc.AE_TITLE)
    for file in files:
        service.same(file, LITTLE)


@pytest.mark.parametrize("image", IMAGES)
def test_it_takes(service: Serving, peer: Orthanc, tmp_path: Path, image: tuple[str, str, Make]) -> None:
    option, syntax, make = image
    file = make(tmp_path)
    storescu(service.port, [file], "-R", option)
    service.same(file, syntax)
    study, [instance] = uids(file)
    run("movescu", service.port, *study_key(study), "-aem", ORTHANC)
    there = kept(peer.storage)[instance]
    assert there.file_meta.TransferSyntaxUID == syntax
    assert differences(there, pydicom.dcmread(file)) == []


def test_it_takes_many_pdus(service: Serving, peer: Orthanc, tmp_path: Path) -> None:
    files = slices(tmp_path, 4)
    storescu(service.port, files, "-R", "-xe")
    study, instances = uids(*files)
    service.stored(*instances)
    run("movescu", service.port, *study_key(study), "-aem", ORTHANC)
    there = kept(peer.storage)
    for file, instance in zip(files, instances, strict=True):
        assert differences(there[instance], pydicom.dcmread(file)) == []


def kept(storage: Path) -> dict[str, pydicom.FileDataset]:
    """The images that an Orthanc has on its disk, by SOP Instance UID."""
    images = {}
    for path in storage.rglob("*"):
        if path.is_file() and len(path.name) == 36:  # files are named by UUIDs
            try:
                image = pydicom.dcmread(path)
            except InvalidDicomError:  # what it knows about an image lies there as well
                continue
            images[str(image.SOPInstanceUID)] = image
    return images
