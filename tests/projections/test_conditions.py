"""The condition catalog on every database."""

import pytest
from tests.projections.examples import erased, image
from tests.projections.memory_log import MemoryLog

from medbus.projections.conditions import ConditionReader
from medbus.projections.database import Database
from medbus.projections.projector import Projector
from medbus.schemas.events import Event, Scope


class Catalog:
    """The catalog that some events lead to."""

    def __init__(self, log: MemoryLog, projector: Projector, reader: Database) -> None:
        self._log = log
        self._projector = projector
        self.conditions = ConditionReader(reader)

    async def given(self, *events: Event) -> ConditionReader:
        self._log.extend(events)
        await self._projector.catch_up()
        return self.conditions


@pytest.fixture
def catalog(log: MemoryLog, projector: Projector, reader: Database) -> Catalog:
    return Catalog(log, projector, reader)


MR = {"RepetitionTime": "2000", "EchoTime": "30", "PixelSpacing": "0.5\\0.5", "SequenceName": "ep2d"}


async def test_conditions_have_tag_representation_unit_and_numbers(catalog: Catalog) -> None:
    reader = await catalog.given(image("1", modality="MR", conditions={**MR, "VendorSecret": "42"}))
    (found,) = await reader.find()
    assert (found.sop_instance_uid, found.patient_id, found.apparatus_id, found.modality) == (
        "1",
        "P1",
        "A_CT#1",
        "MR",
    )
    assert (found.study_instance_uid, found.imaging_date) == ("1.1", "20240102")
    shown = {c.keyword: (c.tag, c.vr, c.unit, c.text, c.numbers) for c in found.conditions}
    assert shown == {
        "RepetitionTime": ("00180080", "DS", "ms", "2000", (2000.0,)),
        "EchoTime": ("00180081", "DS", "ms", "30", (30.0,)),
        "PixelSpacing": ("00280030", "DS", "mm", "0.5\\0.5", (0.5, 0.5)),
        "SequenceName": ("00180024", "SH", "1", "ep2d", ()),
        "VendorSecret": ("", "", "", "42", ()),
    }


async def test_conditions_are_asked_for_by_patient_apparatus_image_study_and_modality(
    catalog: Catalog,
) -> None:
    reader = await catalog.given(
        image("1", study="1.1", patient="P1"),
        image("2", study="1.2", patient="P2", apparatus="A_MRI#1", modality="MR", conditions=MR),
        image("3", study="1.1", patient="P1", apparatus=None, conditions={}),
    )

    async def uids(**chosen: str) -> list[str]:
        return [found.sop_instance_uid for found in await reader.find(**chosen)]  # type: ignore[arg-type]

    assert await uids() == ["2", "1"]
    assert await uids(patient_id="P1") == ["1"]
    assert await uids(apparatus_id="A_MRI#1") == ["2"]
    assert await uids(sop_instance_uid="1") == ["1"]
    assert await uids(sop_instance_uid="3") == []
    assert await uids(study_instance_uid="1.2") == ["2"]
    assert await uids(modality="MR") == ["2"]
    assert await uids(modality="MR", patient_id="P1") == []
    assert [each.sop_instance_uid for each in await reader.find(scope=Scope(patients=("P2",)))] == ["2"]
    assert [each.sop_instance_uid for each in await reader.find(limit=1)] == ["2"]


async def test_single_conditions_are_asked_for_by_keyword(catalog: Catalog) -> None:
    reader = await catalog.given(
        image("1"), image("2", modality="MR", conditions=MR), image("3", modality="MR", conditions=MR)
    )
    found = await reader.find(keywords=["EchoTime", "RepetitionTime"], limit=2)
    assert [(e.sop_instance_uid, [c.keyword for c in e.conditions]) for e in found] == [
        ("3", ["RepetitionTime", "EchoTime"]),
        ("2", ["RepetitionTime", "EchoTime"]),
    ]


async def test_only_the_conditions_of_served_contents_are_shown(catalog: Catalog) -> None:
    first = image("1", conditions={"KVP": "120"})
    other = image("1", contents="other", conditions={"KVP": "80"})
    reader = await catalog.given(first, other)
    (found,) = await reader.find()
    assert [c.text for c in found.conditions] == ["120"]
    await catalog.given(erased(first), first)
    assert await reader.find() == []
