"""pynetdicom as sender, as destination, and as requester; with PDUs of 16 KiB, 128 KiB, and any length."""

from pathlib import Path

import pytest
from pydicom import Dataset
from tests.interoperability import entity
from tests.interoperability.files import renewed, slices, uids
from tests.interoperability.programs import storescu
from tests.interoperability.serving import DESTINATION, Serving

LITTLE, JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"
LENGTHS = [
    pytest.param(16384, id="16KiB"),
    pytest.param(131072, id="128KiB"),
    pytest.param(0, id="unlimited"),
]


@pytest.mark.parametrize("length", LENGTHS)
def test_it_sends(service: Serving, tmp_path: Path, length: int) -> None:
    files = [*slices(tmp_path), renewed("MR_small_jp2klossless.dcm")(tmp_path)]
    assert entity.store(service.port, files, length) == [0, 0, 0]
    for file, syntax in zip(files, (LITTLE, LITTLE, JPEG_2000_LOSSLESS), strict=True):
        service.same(file, syntax)


@pytest.mark.parametrize("length", LENGTHS)
def test_it_gets(service: Serving, tmp_path: Path, length: int) -> None:
    files = slices(tmp_path)
    study, instances = uids(*files)
    storescu(service.port, files, "-R", "-xe")
    stored = service.stored(*instances)
    final, got = entity.get(service.port, study, LITTLE, length)
    assert (final.Status, final.NumberOfCompletedSuboperations) == (0, len(files))
    assert got == stored


def test_it_gets_compressed_images_as_they_are(service: Serving, tmp_path: Path) -> None:
    file = renewed("MR_small_jp2klossless.dcm")(tmp_path)
    study, instances = uids(file)
    storescu(service.port, [file], "-R", "-xv")
    stored = service.stored(*instances)
    assert entity.get(service.port, study, JPEG_2000_LOSSLESS, 0)[1] == stored


@pytest.mark.parametrize("length", LENGTHS)
def test_it_has_images_moved_to_another_entity(service: Serving, tmp_path: Path, length: int) -> None:
    files = slices(tmp_path)
    study, instances = uids(*files)
    storescu(service.port, files, "-R", "-xe")
    stored = service.stored(*instances)
    with entity.destination(DESTINATION, service.destinations[DESTINATION], length) as taken:
        responses = entity.move(service.port, study, DESTINATION)
    assert [each.Status for each in responses[:-1]] == [0xFF00] * (len(responses) - 1)
    assert (responses[-1].Status, responses[-1].NumberOfCompletedSuboperations) == (0, len(files))
    assert taken == stored


def test_it_finds(service: Serving, tmp_path: Path) -> None:
    files = slices(tmp_path, 3)
    study, instances = uids(*files)
    storescu(service.port, files, "-R", "-xe")
    service.stored(*instances)
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = study
    query.PatientName = "DOE*"
    query.ModalitiesInStudy = ""
    [found] = entity.find(service.port, query)
    assert (found.StudyInstanceUID, found.PatientName, found.ModalitiesInStudy) == (study, "DOE^JANE", "CT")

    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study
    query.SeriesInstanceUID = ""
    [series] = entity.find(service.port, query)

    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = study
    query.SeriesInstanceUID = series.SeriesInstanceUID
    query.SOPInstanceUID = ""
    query.InstanceNumber = ""
    images = {str(each.SOPInstanceUID): each.InstanceNumber for each in entity.find(service.port, query)}
    assert images == dict(zip(instances, (1, 2, 3), strict=True))
