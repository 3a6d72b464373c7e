"""The image catalog on every database: what is served, what is counted, what does not fit."""

from typing import Any

import pytest
from tests.projections.examples import MR_IMAGE, conflicted, erased, image
from tests.projections.memory_log import MemoryLog

from medbus.projections.database import Database
from medbus.projections.images import CatalogFilter, ImageReader, Level, Query, Usage
from medbus.projections.projector import Projector
from medbus.schemas.events import Event, Scope


class Catalog:
    """The catalog that some events lead to."""

    def __init__(self, log: MemoryLog, projector: Projector, reader: Database) -> None:
        self._log = log
        self._projector = projector
        self.images = ImageReader(reader)

    async def given(self, *events: Event) -> None:
        self._log.extend(events)
        await self._projector.catch_up()

    async def served(self) -> set[str]:
        return {each.sop_instance_uid for each in await self.images.select()}

    async def find(
        self, level: Level, scope: Scope | None = None, **keys: str
    ) -> list[dict[str, str | int | None]]:
        return [a async for a in self.images.find(Query.of(level, keys), scope or Scope())]


@pytest.fixture
def catalog(log: MemoryLog, projector: Projector, reader: Database) -> Catalog:
    return Catalog(log, projector, reader)


async def test_a_registered_image_is_served_with_its_place(catalog: Catalog, log: MemoryLog) -> None:
    event = image("1.1.1.1", size=4711)
    position = log.append(event)
    await catalog.given()
    found = await catalog.images.image("1.1.1.1")
    assert found is not None
    assert found.blob == event.blob
    assert found.position == position
    assert (found.patient_id, found.registrant, found.apparatus_id, found.modality) == (
        "P1",
        "A-hospital",
        "A_CT#1",
        "CT",
    )
    assert await catalog.images.image("1.1.1.2") is None


async def test_the_same_image_again_changes_nothing(catalog: Catalog) -> None:
    await catalog.given(image("1.1.1.1"))
    await catalog.given(image("1.1.1.1"), image("1.1.1.1"))
    assert await catalog.images.usage("A-hospital") == Usage(images=1, bytes=1000)
    assert await catalog.images.conflicts() == []
    (study,) = await catalog.find(Level.STUDY, NumberOfStudyRelatedInstances="")
    assert study["NumberOfStudyRelatedInstances"] == 1


@pytest.mark.parametrize("together", [True, False])
async def test_of_two_contents_the_first_is_served_and_the_other_a_conflict(
    catalog: Catalog, together: bool
) -> None:
    first, other = image("1.1.1.1"), image("1.1.1.1", contents="other", registrant="B-hospital")
    if together:
        await catalog.given(first, other)
    else:
        await catalog.given(first)
        await catalog.given(other)
    found = await catalog.images.image("1.1.1.1")
    assert found is not None
    assert found.blob == first.blob
    (conflict,) = await catalog.images.conflicts(sop_instance_uid="1.1.1.1")
    assert (conflict.registered, conflict.refused) == (first.blob.digest, other.blob)
    assert conflict.registrant == "B-hospital"
    assert conflict.raced
    assert await catalog.images.usage("B-hospital") == Usage()


async def test_what_is_served_under_a_uid_is_known(catalog: Catalog) -> None:
    event = image("1.1.1.1")
    await catalog.given(event)
    known = await catalog.images.known("1.1.1.1")
    assert known is not None
    assert known.blob == event.blob
    assert known.study_instance_uid == event.study.study_instance_uid
    assert await catalog.images.known("1.1.1.2") is None


async def test_a_conflict_that_a_gateway_refused_is_shown(catalog: Catalog) -> None:
    first = image("1.1.1.1")
    event = conflicted(first)
    await catalog.given(first, event, event)
    (conflict,) = await catalog.images.conflicts()
    assert conflict.refused == event.refused
    assert not conflict.raced
    assert await catalog.images.conflicts(sop_instance_uid="9.9") == []


async def test_an_erased_image_is_gone_and_does_not_come_back(catalog: Catalog) -> None:
    event = image("1.1.1.1")
    await catalog.given(event, image("1.1.1.2", number=2))
    await catalog.given(erased(event))
    await catalog.given(event)
    assert await catalog.served() == {"1.1.1.2"}
    assert await catalog.images.erased("1.1.1.1", event.blob.digest)
    assert not await catalog.images.erased("1.1.1.2", event.blob.digest)
    assert await catalog.images.known("1.1.1.1") is None
    assert await catalog.images.usage("A-hospital") == Usage(images=1, bytes=1000)
    (study,) = await catalog.find(Level.STUDY, NumberOfStudyRelatedInstances="")
    assert study["NumberOfStudyRelatedInstances"] == 1


async def test_what_lost_against_an_image_is_not_served_when_that_is_erased(catalog: Catalog) -> None:
    first, other = image("1.1.1.1"), image("1.1.1.1", contents="other")
    await catalog.given(first, other, erased(first), other)
    assert await catalog.served() == set()


async def test_after_an_erasure_new_contents_may_come_under_the_uid(catalog: Catalog) -> None:
    first, new = image("1.1.1.1"), image("1.1.1.1", contents="corrected")
    await catalog.given(first, erased(first))
    await catalog.given(new)
    found = await catalog.images.image("1.1.1.1")
    assert found is not None
    assert found.blob == new.blob


async def test_a_study_whose_last_image_is_erased_is_gone(catalog: Catalog) -> None:
    event = image("1.1.1.1")
    await catalog.given(event, erased(event))
    for level in Level:
        assert await catalog.find(level) == []
    assert await catalog.images.usage("A-hospital") == Usage()


async def test_a_study_is_described_by_its_first_image(catalog: Catalog) -> None:
    first = image("1.1.1.1", name="DOE^JANE", of_study={"study_description": "Thorax"})
    second = image("1.1.1.2", name="DOE^JANET", of_study={"study_description": "Abdomen"}, number=2)
    await catalog.given(first, second)
    (study,) = await catalog.find(Level.STUDY, PatientName="", StudyDescription="")
    assert (study["PatientName"], study["StudyDescription"]) == ("DOE^JANE", "Thorax")
    # When that is erased, by the one that is the first now.
    await catalog.given(erased(first))
    (study,) = await catalog.find(Level.STUDY, PatientName="", StudyDescription="")
    assert (study["PatientName"], study["StudyDescription"]) == ("DOE^JANET", "Abdomen")


async def test_one_uid_in_two_studies_serves_the_one_that_arrived_first(catalog: Catalog) -> None:
    first = image("1.7", study="1.1", contents="a")
    other = image("1.7", study="1.2", contents="b", registrant="B-hospital")
    await catalog.given(first, other)
    assert [each.study_instance_uid for each in await catalog.images.select()] == ["1.1"]
    assert len(await catalog.find(Level.STUDY)) == 1
    (conflict,) = await catalog.images.conflicts()
    assert (conflict.study_instance_uid, conflict.refused) == ("1.2", other.blob)
    await catalog.given(erased(first))
    assert [each.study_instance_uid for each in await catalog.images.select()] == ["1.2"]
    assert await catalog.images.conflicts() == []
    assert await catalog.images.usage("B-hospital") == Usage(images=1, bytes=1000)


async def test_counts_and_lists_of_patient_study_and_series(catalog: Catalog) -> None:
    await catalog.given(
        image("1.1.1.1", series="1.1.1"),
        image("1.1.1.2", series="1.1.1"),
        image("1.1.2.1", series="1.1.2", modality="MR", sop_class=MR_IMAGE),
        image("1.2.1.1", study="1.2", series="1.2.1"),
    )
    (patient,) = await catalog.find(
        Level.PATIENT,
        NumberOfPatientRelatedStudies="",
        NumberOfPatientRelatedSeries="",
        NumberOfPatientRelatedInstances="",
    )
    assert patient == {
        "PatientID": "P1",
        "NumberOfPatientRelatedStudies": 2,
        "NumberOfPatientRelatedSeries": 3,
        "NumberOfPatientRelatedInstances": 4,
    }
    studies = await catalog.find(
        Level.STUDY,
        ModalitiesInStudy="",
        SOPClassesInStudy="",
        NumberOfStudyRelatedSeries="",
        NumberOfStudyRelatedInstances="",
        NumberOfPatientRelatedInstances="",
    )
    assert studies[0] == {
        "StudyInstanceUID": "1.1",
        "ModalitiesInStudy": "CT\\MR",
        "SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.2\\1.2.840.10008.5.1.4.1.1.4",
        "NumberOfStudyRelatedSeries": 2,
        "NumberOfStudyRelatedInstances": 3,
        "NumberOfPatientRelatedInstances": 4,
    }
    series = await catalog.find(Level.SERIES, StudyInstanceUID="1.1", NumberOfSeriesRelatedInstances="")
    assert [each["NumberOfSeriesRelatedInstances"] for each in series] == [2, 1]


async def test_what_lies_outside_a_scope_is_neither_found_nor_counted(catalog: Catalog) -> None:
    await catalog.given(
        image("1.1.1.1", series="1.1.1"),
        image("1.1.2.1", series="1.1.2", modality="MR", registrant="B-hospital"),
        image("1.2.1.1", study="1.2", patient="P2", name="ROE^RICHARD"),
    )
    scope = Scope(patients=("P1",), modalities=("CT",))
    (study,) = await catalog.find(
        Level.STUDY,
        scope,
        ModalitiesInStudy="",
        NumberOfStudyRelatedInstances="",
        NumberOfPatientRelatedStudies="",
    )
    assert study == {
        "StudyInstanceUID": "1.1",
        "ModalitiesInStudy": "CT",
        "NumberOfStudyRelatedInstances": 1,
        "NumberOfPatientRelatedStudies": 1,
    }
    assert await catalog.find(Level.STUDY, scope, ModalitiesInStudy="MR") == []
    assert [a["PatientID"] for a in await catalog.find(Level.PATIENT, scope)] == ["P1"]
    assert [a["SeriesInstanceUID"] for a in await catalog.find(Level.SERIES, scope)] == ["1.1.1"]
    assert [a["SOPInstanceUID"] for a in await catalog.find(Level.IMAGE, scope)] == ["1.1.1.1"]
    assert [i.sop_instance_uid for i in await catalog.images.select(scope=scope)] == ["1.1.1.1"]
    assert await catalog.images.image("1.1.2.1", scope) is None
    assert await catalog.images.images(["1.1.1.1", "1.1.2.1"], Scope(registrants=("B-hospital",))) == (
        await catalog.images.images(["1.1.2.1"])
    )
    assert [r.sop_instance_uid for r in await catalog.images.catalog(scope=scope)] == ["1.1.1.1"]


async def test_each_patient_of_a_study_with_two_patient_ids_sees_only_its_own(catalog: Catalog) -> None:
    await catalog.given(
        image("1.1.1.1", patient="P1", name="DOE^JANE"), image("1.1.1.2", patient="P2", name="ROE^RICHARD")
    )
    (study,) = await catalog.find(
        Level.STUDY, Scope(patients=("P2",)), PatientName="", NumberOfStudyRelatedInstances=""
    )
    assert study == {
        "StudyInstanceUID": "1.1",
        "PatientName": "ROE^RICHARD",
        "NumberOfStudyRelatedInstances": 1,
    }
    assert len(await catalog.find(Level.STUDY, StudyInstanceUID="1.1")) == 2


async def test_patients_in_conflict_are_accepted_and_flagged(catalog: Catalog) -> None:
    await catalog.given(
        image("1.1", study="1", patient="P1", name="DOE^JANE"),
        image("2.1", study="2", patient="P1", name="DOE^JOHN", sex="M"),
        image("3.1", study="3", patient="P2", name="ROE^RICHARD"),
        image("3.2", study="3", patient="P3", name="ROE^RICHARD"),
        image("4.1", study="4", patient="P4", birth_date="19700101"),
        image("4.2", study="4", patient="P4", birth_date="19710101"),
        image("5.1", study="5", patient="", name="A"),
        image("6.1", study="6", patient="", name="B"),
    )
    conflicts = await catalog.images.patient_conflicts()
    assert [([p.patient_id for p in c.patients], c.study_instance_uids) for c in conflicts] == [
        (["P1", "P1"], ("1", "2")),
        (["P4", "P4"], ("4",)),
        (["P2", "P3"], ("3",)),
    ]
    assert len(await catalog.served()) == 8


async def test_the_patient_level_shows_the_patient_as_the_first_study_does(catalog: Catalog) -> None:
    await catalog.given(
        image("9.1", study="9", name="DOE^JANE", registrant="A-hospital"),
        image("1.1", study="1", name="DOE^JANET", registrant="B-hospital"),
    )
    assert [a["PatientName"] for a in await catalog.find(Level.PATIENT, PatientName="")] == ["DOE^JANE"]
    assert await catalog.find(Level.PATIENT, PatientName="DOE^JANET") == []
    only_b = Scope(registrants=("B-hospital",))
    assert [a["PatientName"] for a in await catalog.find(Level.PATIENT, only_b, PatientName="")] == [
        "DOE^JANET"
    ]


async def test_images_are_selected_by_any_level_in_reading_order(catalog: Catalog) -> None:
    await catalog.given(
        image("1.1.1.2", number=1),
        image("1.1.1.1", number=2),
        image("1.1.1.3", number=None),
        image("1.2.1.1", study="1.2", patient="P2"),
    )

    async def select(**chosen: Any) -> list[str]:
        return [each.sop_instance_uid for each in await catalog.images.select(**chosen)]

    in_study = ["1.1.1.2", "1.1.1.1", "1.1.1.3"]
    assert await select(study_instance_uids=["1.1"]) == in_study
    assert await select(patient_ids=["P1"]) == in_study
    assert await select(series_instance_uids=["1.1.1", "9"]) == in_study
    assert await select(sop_instance_uids=["1.1.1.1"], study_instance_uids=["1.1"]) == ["1.1.1.1"]
    assert await select(sop_instance_uids=["1.1.1.1"], study_instance_uids=["1.2"]) == []
    assert await select(patient_ids=["P1", "P2"]) == [*in_study, "1.2.1.1"]
    assert await catalog.images.images([]) == []


async def test_the_catalog_lists_what_was_asked_for_the_newest_first(catalog: Catalog) -> None:
    await catalog.given(
        image("1", study="1.1", imaging_date="20240101", size=10),
        image("2", study="1.2", imaging_date="20240201", registrant="B-hospital", patient="P2"),
        image("3", study="1.3", imaging_date="", apparatus=None, modality="MR"),
    )

    async def uids(**chosen: str) -> list[str]:
        return [r.sop_instance_uid for r in await catalog.images.catalog(CatalogFilter(**chosen))]

    assert await uids() == ["3", "2", "1"]
    assert await uids(patient_id="P1") == ["3", "1"]
    assert await uids(registrant="B-hospital") == ["2"]
    assert await uids(apparatus_id="A_CT#1") == ["2", "1"]
    assert await uids(modality="MR") == ["3"]
    assert await uids(study_instance_uid="1.2") == ["2"]
    assert await uids(date_from="20240101", date_to="20240131") == ["1"]
    assert await uids(date_from="20240201") == ["2"]
    assert await uids(date_to="20240101") == ["1"]
    (row,) = await catalog.images.catalog(CatalogFilter(study_instance_uid="1.1"))
    assert (row.registrant, row.patient_id, row.imaging_date, row.apparatus_id, row.modality, row.size) == (
        "A-hospital",
        "P1",
        "20240101",
        "A_CT#1",
        "CT",
        10,
    )
    assert len(await catalog.images.catalog(limit=2)) == 2


async def test_paging_gives_distinct_entities_in_a_stable_order(catalog: Catalog) -> None:
    # Study A has CT, MR and SR series; B and C have CT.
    await catalog.given(
        *(
            image(f"1.1.{n}", study="1.1", series=f"1.1.{n}", modality=m)
            for n, m in enumerate(("CT", "MR", "SR"))
        ),
        image("1.2.1", study="1.2"),
        image("1.3.1", study="1.3"),
    )
    query = Query.of(Level.STUDY, {})

    async def page(limit: int | None, offset: int) -> list[str | int | None]:
        found = catalog.images.find(query, limit=limit, offset=offset)
        return [answer["StudyInstanceUID"] async for answer in found]

    assert await page(2, 0) == ["1.1", "1.2"]
    assert await page(2, 2) == ["1.3"]
    assert await page(0, 0) == []
    assert await page(None, 3) == []


async def test_more_answers_than_a_page_holds_come_completely(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medbus.projections.images.reader.ANSWERS_AT_ONCE", 3)
    await catalog.given(
        *(image(f"1.{n}", study=f"1.{n % 4}", series=f"1.{n % 4}.1", number=n) for n in range(9))
    )
    assert len(await catalog.find(Level.IMAGE)) == 9
    assert [a["StudyInstanceUID"] for a in await catalog.find(Level.STUDY)] == ["1.0", "1.1", "1.2", "1.3"]
    found = catalog.images.find(Query.of(Level.IMAGE, {}), limit=5, offset=2)
    assert [a["SOPInstanceUID"] async for a in found] == ["1.2", "1.3", "1.4", "1.5", "1.6"]


async def test_a_nul_character_in_a_value_does_no_harm(catalog: Catalog) -> None:
    await catalog.given(image("1.1.1.1", name="DOE\0^JANE", of_study={"study_description": "a\\u0000b\0"}))
    (study,) = await catalog.find(Level.STUDY, PatientName="DOE^JANE", StudyDescription="")
    assert study["StudyDescription"] == "a\\u0000b"
