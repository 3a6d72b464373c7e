"""Storage commitment over the network: what is asked, what the report says, and where it goes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from tests.gateways import dcmtk
from tests.gateways.dicom.encoded import CT_IMAGE_STORAGE, IMPLICIT, ct
from tests.gateways.images import outgoing
from tests.gateways.recipient import Recipient, recipient
from tests.gateways.segments import lose, root_of
from tests.gateways.site import PATIENCE, Site

from medbus.gateways.dicom import identifier
from medbus.gateways.dicom.command import Field
from medbus.gateways.dicom.presentation import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from medbus.gateways.dicom.pynetdicom import messages
from medbus.gateways.dicom.status import SUCCESS, Outcome
from medbus.schemas.events import Apparatus, RejectionReason

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

MR = "1.2.840.10008.5.1.4.1.1.4"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def modality(running: Site) -> AsyncIterator[Recipient]:
    """The requester's other side, at the address of its contract."""
    async with recipient("MODALITY", {STORAGE_COMMITMENT: [IMPLICIT]}) as taken:
        await running.contract(
            "A-hospital",
            Apparatus(apparatus_id="A_CT#1", ae_title="MODALITY", host="127.0.0.1", port=taken.port),
        )
        yield taken


@pytest.fixture(autouse=True)
def fresh(modality: Recipient) -> None:
    """No reports yet."""
    modality.reports.clear()
    modality.report_status = 0x0000


def information(*references: tuple[str, str], transaction: str | None = "") -> Dataset:
    """What a request says."""
    dataset = Dataset()
    if transaction is not None:
        dataset.TransactionUID = transaction or generate_uid()
    dataset.ReferencedSOPSequence = []
    for sop_class, instance in references:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = instance
        dataset.ReferencedSOPSequence.append(item)
    return dataset


async def request(
    site: Site,
    dataset: Dataset,
    *,
    instance: str = STORAGE_COMMITMENT_INSTANCE,
    action: int = 1,
    calling: str = "MODALITY",
) -> Outcome:
    """N-ACTION; the answer."""

    def work() -> Outcome:
        with site.peer(calling).requester([(STORAGE_COMMITMENT, [IMPLICIT])]) as requester:
            return requester.action(
                STORAGE_COMMITMENT, instance, action, identifier.encode(dataset, IMPLICIT)
            )

    return await asyncio.wait_for(asyncio.to_thread(work), PATIENCE)


async def report(modality: Recipient) -> tuple[int, Any]:
    """The report that comes."""
    for _ in range(int(PATIENCE / 0.05)):
        if modality.reports:
            [(event_type, dataset, calling)] = modality.reports
            assert calling == "MEDBUS"
            return event_type, dataset
        await asyncio.sleep(0.05)
    raise AssertionError("no report came")


def items(sequence: Sequence[Dataset]) -> list[tuple[str, ...]]:
    """Classes, instances and reasons of a sequence."""
    return [
        (
            str(item.ReferencedSOPClassUID),
            str(item.ReferencedSOPInstanceUID),
            *([hex(item.FailureReason)] if "FailureReason" in item else []),
        )
        for item in sequence
    ]


async def test_what_was_just_sent_is_safe(served: Site, modality: Recipient) -> None:
    images = [ct() for _ in range(3)]
    await served.store(*map(outgoing, images))
    asked = information(*((CT_IMAGE_STORAGE, str(each.SOPInstanceUID)) for each in images))
    assert await request(served, asked) == SUCCESS
    event_type, said = await report(modality)
    assert event_type == 1
    assert said.TransactionUID == asked.TransactionUID
    assert said.RetrieveAETitle == "MEDBUS"
    assert items(said.ReferencedSOPSequence) == items(asked.ReferencedSOPSequence)
    assert "FailedSOPSequence" not in said


async def test_each_failure_has_its_item_and_reason(served: Site, modality: Recipient) -> None:
    safe, odd, lost = ct(), ct(), ct()
    await served.store(outgoing(safe), outgoing(odd), outgoing(lost))
    await served.settled()
    [stored] = await served.images.images([str(lost.SOPInstanceUID)])
    lose(root_of(served.settings.blobs), stored.blob.digest)
    unknown = str(generate_uid())
    asked = information(
        (CT_IMAGE_STORAGE, str(safe.SOPInstanceUID)),
        (CT_IMAGE_STORAGE, unknown),
        (MR, str(odd.SOPInstanceUID)),
        (CT_IMAGE_STORAGE, str(lost.SOPInstanceUID)),
    )
    assert await request(served, asked) == SUCCESS
    event_type, said = await report(modality)
    assert event_type == 2
    assert items(said.ReferencedSOPSequence) == [(CT_IMAGE_STORAGE, str(safe.SOPInstanceUID))]
    assert items(said.FailedSOPSequence) == [
        (CT_IMAGE_STORAGE, unknown, "0x112"),
        (MR, str(odd.SOPInstanceUID), "0x119"),
        (CT_IMAGE_STORAGE, str(lost.SOPInstanceUID), "0x110"),
    ]


async def test_a_request_about_nothing_is_refused(served: Site, modality: Recipient) -> None:
    nothing = Outcome(0x0115, "Referenced SOP Sequence is empty")
    assert await request(served, information()) == nothing
    without = information((CT_IMAGE_STORAGE, "1.2.3"), transaction=None)
    assert await request(served, without) == Outcome(0x0115, "there is no Transaction UID")
    half = information(("", "1.2.3"))
    assert await request(served, half) == Outcome(0x0115, "an item has no SOP Class or Instance UID")
    assert modality.reports == []


async def test_only_the_one_action_on_the_one_instance_is_done(served: Site) -> None:
    asked = information((CT_IMAGE_STORAGE, "1.2.3"))
    assert (await request(served, asked, instance="1.2.3")).code == 0x0112
    assert (await request(served, asked, action=2)).code == 0x0123


async def test_who_may_not_register_may_not_ask(served: Site) -> None:
    served.auth.answer = lambda each: served.auth.reject(each, RejectionReason.WRONG_ROLE)
    finished = await dcmtk.run("echoscu", "-aet", "MODALITY", "-aec", "MEDBUS", "127.0.0.1", served.port)
    assert finished.code != 0


async def test_a_requester_that_is_not_there_yet_gets_its_report_later(served: Site) -> None:
    image = ct()
    await served.store(outgoing(image))
    port = dcmtk.free_port()
    served.auth.subscribers["LATE"] = ("L-hospital", "L_CT#1")
    await served.contract(
        "L-hospital", Apparatus(apparatus_id="L_CT#1", ae_title="LATE", host="127.0.0.1", port=port)
    )
    asked = information((CT_IMAGE_STORAGE, str(image.SOPInstanceUID)))
    assert await request(served, asked, calling="LATE") == SUCCESS
    await asyncio.sleep(0.3)
    async with recipient("LATE", {STORAGE_COMMITMENT: [IMPLICIT]}, port) as taken:
        event_type, _ = await report(taken)
    assert event_type == 1


async def test_a_requester_without_an_address_gets_it_on_its_own_association(served: Site) -> None:
    image = ct()
    await served.store(outgoing(image))
    served.auth.subscribers["ROAMER"] = ("R-hospital", "R_US#1")
    asked = information((CT_IMAGE_STORAGE, str(image.SOPInstanceUID)))

    def work() -> tuple[Outcome, messages.Message, bytes]:
        with served.peer("ROAMER").requester([(STORAGE_COMMITMENT, [IMPLICIT])]) as requester:
            outcome = requester.action(
                STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, 1, identifier.encode(asked, IMPLICIT)
            )
            message = messages.receive(requester._association, 10)
            return outcome, message, message.identifier()

    outcome, message, data = await asyncio.wait_for(asyncio.to_thread(work), PATIENCE)
    assert outcome == SUCCESS
    assert message.command.field == Field.N_EVENT_REPORT
    assert message.command.event_type == 1
    assert identifier.decode(data, IMPLICIT).TransactionUID == asked.TransactionUID
