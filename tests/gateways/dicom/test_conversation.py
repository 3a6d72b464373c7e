"""All that follows from one association has its correlation id: request, decision, images, deliveries."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid5

import pytest
from pydicom.uid import generate_uid
from tests.gateways.dicom.encoded import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT, ct, encode
from tests.gateways.dicom.test_retrieving import GET, get, keys
from tests.gateways.images import outgoing
from tests.gateways.opened import opened
from tests.gateways.site import Site

from medbus.gateways.dicom import registration
from medbus.gateways.dicom.client.finder import STUDY_ROOT_FIND
from medbus.gateways.dicom.presentation import VERIFICATION
from medbus.gateways.dicom.status import SUCCESS
from medbus.schemas.events import (
    Decision,
    DeliveryFailed,
    Event,
    ImageConflicted,
    ImageDelivered,
    ImageRegistered,
    Request,
    RequestAuthorized,
)
from medbus.schemas.topics import DECISIONS, DELIVERIES, IMAGES, REQUESTS, Topic

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


def conversation_of(requests: Sequence[Request]) -> UUID:
    """The conversation that all of these belong to: one of them is its first and gives it its name."""
    [conversation] = {each.meta.correlation_id for each in requests}
    assert Counter(each.meta.event_id == conversation for each in requests)[True] == 1
    assert len({each.request_id for each in requests}) == len(requests)
    return conversation


async def following(site: Site, topic: Topic, conversation: UUID) -> list[Event]:
    """Events of a topic with a correlation id."""
    return [each for each in await site.events(topic, Event) if each.meta.correlation_id == conversation]


async def decision(site: Site, request: Request) -> RequestAuthorized:
    """How a request was answered."""
    decisions = await site.events(DECISIONS, RequestAuthorized)
    [found] = [each for each in decisions if each.request_id == request.request_id]
    return found


async def test_every_service_of_an_association_is_asked_for_in_one_conversation(served: Site) -> None:
    contexts = [
        (CT_IMAGE_STORAGE, [EXPLICIT]),
        (STUDY_ROOT_FIND, [IMPLICIT]),
        (VERIFICATION, [IMPLICIT]),
    ]
    async with opened(served, contexts):
        pass
    assert sorted(served.auth.kinds()) == ["QueryRequested", "RegistrationRequested"]
    conversation = conversation_of(served.auth.asked)
    decisions: list[Decision] = []
    for each in served.auth.asked:
        decisions.append(await decision(served, each))
    assert {each.meta.correlation_id for each in decisions} == {conversation}
    records = [
        each
        for topic in (REQUESTS, DECISIONS)
        for each in await served.records(topic)
        if isinstance(each.event, Event) and each.event.meta.correlation_id == conversation
    ]
    places = {(each.position.partition.topic, each.position.partition.number) for each in records}
    assert len(records) == 4
    assert len(places) == 2, "one partition of each topic: their order is certain"


async def test_another_association_is_another_conversation(served: Site) -> None:
    await served.store(outgoing(ct()))
    await served.store(outgoing(ct()))
    assert len({each.meta.correlation_id for each in served.auth.asked}) == 2
    assert all(each.meta.correlation_id == each.request_id for each in served.auth.asked)


async def test_grants_that_are_renewed_stay_in_the_conversation(served: Site) -> None:
    served.auth.lifetime = timedelta(0)
    first = ct()
    second = ct(StudyInstanceUID=first.StudyInstanceUID)  # events of one study are in order
    assert await served.store(outgoing(first), outgoing(second)) == [SUCCESS, SUCCESS]
    assert served.auth.kinds() == ["RegistrationRequested"] * 3
    conversation = conversation_of(served.auth.asked)
    found = await following(served, IMAGES, conversation)
    assert [each.instance.sop_instance_uid for each in found if isinstance(each, ImageRegistered)] == [
        each.SOPInstanceUID for each in (first, second)
    ]
    last = await decision(served, served.auth.asked[-1])
    assert found[-1].meta.cause_id == last.meta.event_id, "the renewed grant is the cause"


async def test_images_and_conflicts_belong_to_their_conversation_under_ids_of_their_own(served: Site) -> None:
    image = ct()
    changed = ct(SOPInstanceUID=image.SOPInstanceUID, StudyInstanceUID=image.StudyInstanceUID, PatientID="2")
    codes = [each.code for each in await served.store(outgoing(image), outgoing(changed))]
    assert codes == [0x0000, 0x0111]
    found = await following(served, IMAGES, conversation_of(served.auth.asked))
    [registered] = [each for each in found if isinstance(each, ImageRegistered)]
    [conflict] = [each for each in found if isinstance(each, ImageConflicted)]
    uid = str(image.SOPInstanceUID)
    assert registered.meta.event_id == registration.event_id(uid, registered.blob.digest)
    assert conflict.meta.event_id == registration.event_id(uid, f"conflict:{conflict.refused.digest}")


async def test_deliveries_and_failures_belong_to_the_conversation_of_the_retrieval(served: Site) -> None:
    uid = str(generate_uid())
    plain, odd = ct(StudyInstanceUID=uid), ct(StudyInstanceUID=uid)
    private = "1.2.826.0.1.3680043.10.999.9"  # can't be converted
    await served.store(outgoing(plain), outgoing(odd, encode(odd), transfer_syntax_uid=private))
    await served.settled()
    served.auth.asked.clear()
    final, _ = await get(served, keys(StudyInstanceUID=uid))
    assert (final.completed, final.failed) == (1, 1)

    assert served.auth.kinds() == ["QueryRequested", "DeliveryRequested"]
    conversation = conversation_of(served.auth.asked)
    assert served.auth.asked[0].meta.event_id == conversation
    grant = await decision(served, served.auth.asked[1])
    found = await following(served, DELIVERIES, conversation)
    [delivered] = [each for each in found if isinstance(each, ImageDelivered)]
    [failed] = [each for each in found if isinstance(each, DeliveryFailed)]
    assert delivered.meta.event_id == uuid5(grant.meta.event_id, str(plain.SOPInstanceUID))
    assert failed.meta.event_id == uuid5(grant.meta.event_id, f"failed:{odd.SOPInstanceUID}")


async def test_every_retrieval_of_an_association_is_part_of_its_conversation(served: Site) -> None:
    images = [ct() for _ in range(2)]
    await served.store(*map(outgoing, images))
    await served.settled()
    served.auth.asked.clear()
    contexts = [(GET, [IMPLICIT]), (CT_IMAGE_STORAGE, [EXPLICIT])]
    async with opened(served, contexts, receiving=[CT_IMAGE_STORAGE]) as requester:
        for each in images:
            await requester.get(GET, keys(StudyInstanceUID=str(each.StudyInstanceUID)))
    assert served.auth.kinds() == ["QueryRequested", "DeliveryRequested", "DeliveryRequested"]
    conversation = conversation_of(served.auth.asked)
    found = await following(served, DELIVERIES, conversation)
    assert {each.study_instance_uid for each in found if isinstance(each, ImageDelivered)} == {
        str(each.StudyInstanceUID) for each in images
    }
