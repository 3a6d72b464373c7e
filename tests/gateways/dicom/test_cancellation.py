"""A cancelled subscriber's open grants end within a second, whatever is under way."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from tests.gateways.dicom.encoded import CT_IMAGE_STORAGE, EXPLICIT, IMPLICIT, ct
from tests.gateways.dicom.test_retrieving import GET, MOVE, delivered, keys
from tests.gateways.images import outgoing
from tests.gateways.opened import Opened, opened
from tests.gateways.recipient import recipient
from tests.gateways.site import PATIENCE, Site

from medbus.gateways.dicom.client.finder import STUDY_ROOT_FIND
from medbus.gateways.dicom.conversation import Conversation
from medbus.gateways.dicom.finding import Finding
from medbus.gateways.dicom.identifier import Identifier
from medbus.gateways.dicom.presentation import Root, Service
from medbus.gateways.dicom.registrar import Registrar
from medbus.gateways.dicom.status import SUCCESS, Outcome, Refused
from medbus.gateways.dicom.storing import StoreRequest, Storing
from medbus.gateways.grants import Grant, Grants, utc_now
from medbus.gateways.quota import Place, Quota
from medbus.schemas.events import (
    Apparatus,
    DeliveryFailed,
    Evidence,
    ImageConflicted,
    ImageRegistered,
    RequestAuthorized,
    Role,
    Terms,
)
from medbus.schemas.topics import DELIVERIES, IMAGES
from medbus.streams.contracts import commands
from medbus.streams.contracts.service import ContractService

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

NOT_ALLOWED = Outcome(0x0124, "the contract was cancelled")
STORING = [(CT_IMAGE_STORAGE, [EXPLICIT])]
EVERYTHING = [(CT_IMAGE_STORAGE, [EXPLICIT]), (STUDY_ROOT_FIND, [IMPLICIT]), (MOVE, [IMPLICIT])]


class Contracts:
    """Contracts as the service's manager makes and ends them. Each test has a subscriber of its own."""

    def __init__(self, served: Site) -> None:
        self._site = served
        self._service = ContractService(served.bus)

    async def make(self, subscriber: str, *apparatuses: Apparatus) -> None:
        """Make a contract; decisions for MODALITY are of this subscriber from now on."""
        terms = Terms(name=subscriber, roles=(Role.IMAGE_REGISTERING,), apparatuses=apparatuses)
        [made] = await self._service.handle(commands.Contract(**self._head(subscriber), terms=terms))
        assert await self._site.database.reached(made.position, PATIENCE)

    async def cancel(self, subscriber: str) -> None:
        """End a contract."""
        await self._service.handle(commands.Cancel(**self._head(subscriber), reason="test"))

    @staticmethod
    def _head(subscriber: str) -> dict[str, Any]:
        return {
            "command_id": uuid4(),
            "at": datetime.now(UTC),
            "source": "test",
            "subscriber": subscriber,
        }


@pytest.fixture
def contracts(served: Site) -> Contracts:
    return Contracts(served)


@pytest_asyncio.fixture(loop_scope="module")
async def subscriber(served: Site, contracts: Contracts) -> str:
    """A subscriber with a contract, as which MODALITY acts."""
    name = f"S-{uuid4().hex[:8]}"
    await contracts.make(name)
    served.auth.subscribers["MODALITY"] = (name, "A_CT#1")
    return name


async def study(served: Site, images: int) -> tuple[str, list[Dataset]]:
    """Register a study."""
    uid = str(generate_uid())
    made = [ct(StudyInstanceUID=uid) for _ in range(images)]
    assert await served.store(*map(outgoing, made)) == [SUCCESS] * images
    await served.settled()
    return uid, made


async def refused(attempt: Opened) -> Outcome:
    """Send images until one is refused, for at most a second; how."""
    begun = time.monotonic()
    while True:
        outcome = await attempt.store(outgoing(ct()))
        if outcome != SUCCESS:
            return outcome
        assert time.monotonic() - begun < 1, "images are still taken after a second"
        await asyncio.sleep(0.02)


async def test_the_next_image_is_refused(served: Site, contracts: Contracts, subscriber: str) -> None:
    async with opened(served, STORING) as first, opened(served, STORING) as second:
        assert [await first.store(outgoing(ct())), await second.store(outgoing(ct()))] == [SUCCESS, SUCCESS]
        await contracts.cancel(subscriber)
        assert await refused(first) == NOT_ALLOWED
        assert await second.store(outgoing(ct())) == NOT_ALLOWED
        asked = len(served.auth.asked)
        await contracts.make(subscriber)
        assert await first.store(outgoing(ct())) == NOT_ALLOWED, "an ended grant is not renewed"
        assert len(served.auth.asked) == asked
        async with opened(served, STORING) as third:
            assert await third.store(outgoing(ct())) == SUCCESS


async def test_others_go_on(served: Site, contracts: Contracts, subscriber: str) -> None:
    served.auth.subscribers["OTHER"] = ("B-hospital", "B_CT#1")
    async with opened(served, STORING) as mine, opened(served, STORING, calling="OTHER") as other:
        await contracts.cancel(subscriber)
        assert await refused(mine) == NOT_ALLOWED
        assert await other.store(outgoing(ct())) == SUCCESS


async def test_a_duplicate_and_a_conflict_are_refused_too(
    served: Site, contracts: Contracts, subscriber: str
) -> None:
    image = ct()
    other = ct(SOPInstanceUID=image.SOPInstanceUID, StudyInstanceUID=image.StudyInstanceUID, PatientID="2")
    async with opened(served, STORING) as attempt:
        assert await attempt.store(outgoing(image)) == SUCCESS
        await contracts.cancel(subscriber)
        assert await refused(attempt) == NOT_ALLOWED
        assert await attempt.store(outgoing(image)) == NOT_ALLOWED
        assert await attempt.store(outgoing(other)) == NOT_ALLOWED
    conflicts = await served.events(IMAGES, ImageConflicted)
    assert [each for each in conflicts if each.sop_instance_uid == image.SOPInstanceUID] == []


async def test_a_query_and_retrievals_are_refused(
    served: Site, contracts: Contracts, subscriber: str
) -> None:
    uid, _ = await study(served, 1)
    contexts = [*EVERYTHING, (GET, [IMPLICIT])]
    query = keys(StudyInstanceUID=uid)
    async with opened(served, contexts) as attempt:
        assert (await attempt.find(STUDY_ROOT_FIND, query))[-1] == SUCCESS
        await contracts.cancel(subscriber)
        assert await refused(attempt) == NOT_ALLOWED
        assert await attempt.find(STUDY_ROOT_FIND, query) == [NOT_ALLOWED]
        final, came = await attempt.get(GET, query)
        assert (final.status, final.error_comment, came) == (0x0124, NOT_ALLOWED.comment, [])
        await contracts.make("D-" + subscriber, Apparatus(apparatus_id="D", ae_title="D_Q", host="h", port=1))
        final = await attempt.move(MOVE, "D_Q", query)
        assert (final.status, final.error_comment) == (0x0124, NOT_ALLOWED.comment)
        await contracts.cancel("D-" + subscriber)


async def test_a_retrieval_under_way_stops_at_the_next_image(
    served: Site, contracts: Contracts, subscriber: str
) -> None:
    uid, images = await study(served, 40)

    async def third(number: int) -> None:
        if number == 3:
            await contracts.cancel(subscriber)
            await asyncio.sleep(1)

    contexts = [(GET, [IMPLICIT]), (CT_IMAGE_STORAGE, [EXPLICIT])]
    async with opened(served, contexts, receiving=[CT_IMAGE_STORAGE]) as attempt:
        final, came = await attempt.get(GET, keys(StudyInstanceUID=uid), third)
    assert (final.status, final.completed, final.failed) == (0xB000, 3, 37)
    assert len(came) == 3
    assert {each.sop_instance_uid for each in await delivered(served, uid)} == set(came)
    failures = [e for e in await served.events(DELIVERIES, DeliveryFailed) if e.study_instance_uid == uid]
    assert {each.sop_instance_uid for each in failures} == {str(e.SOPInstanceUID) for e in images} - set(came)
    assert {each.reason for each in failures} == {"the contract was cancelled"}


@pytest.mark.parametrize("whose", ["requester", "recipient"])
async def test_a_move_under_way_stops_at_the_next_image(
    served: Site, contracts: Contracts, subscriber: str, whose: str
) -> None:
    uid, _ = await study(served, 10)
    loop = asyncio.get_running_loop()
    destination = f"D-{subscriber}"
    ended = subscriber if whose == "requester" else destination

    def third(_: str) -> int:
        if len(taken.received) == 2:
            asyncio.run_coroutine_threadsafe(contracts.cancel(ended), loop).result(PATIENCE)
            time.sleep(1)
        return 0

    async with recipient("D_MOVE", {CT_IMAGE_STORAGE: [EXPLICIT]}) as taken:
        taken.status = third
        apparatus = Apparatus(apparatus_id="D", ae_title="D_MOVE", host="127.0.0.1", port=taken.port)
        await contracts.make(destination, apparatus)
        async with opened(served, [(MOVE, [IMPLICIT])]) as attempt:
            final = await attempt.move(MOVE, "D_MOVE", keys(StudyInstanceUID=uid))
    assert (final.status, final.completed, final.failed) == (0xB000, 3, 7)
    assert len(taken.received) == 3
    if whose == "requester":
        await contracts.cancel(destination)


class Interrupted:
    """Takes matches, and has the contract cancelled after the second."""

    def __init__(self, cancel: Callable[[], Awaitable[None]]) -> None:
        self._cancel = cancel
        self.matches = 0

    async def match(self, data: bytes, *, all_keys: bool) -> None:
        self.matches += 1
        if self.matches == 2:
            await self._cancel()

    def cancelled(self) -> bool:
        return False


async def begun(served: Site, grants: Grants, service: Service) -> Conversation:
    """A conversation with a grant for a service."""
    evidence = Evidence(calling_ae_title="MODALITY", address="127.0.0.1")
    conversation = Conversation(grants, evidence, {service: ()}, source="test", clock=utc_now)
    await conversation.ask(service)
    return conversation


async def ended(contracts: Contracts, subscriber: str, grant: Grant) -> None:
    """Cancel, and wait until a grant ended."""
    await contracts.cancel(subscriber)
    async with asyncio.timeout(1):
        while not grant.ended:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_query_under_way_ends_at_the_next_match(
    served: Site, contracts: Contracts, subscriber: str
) -> None:
    patient = uuid4().hex[:16]
    made = [ct(PatientID=patient) for _ in range(5)]
    assert await served.store(*map(outgoing, made)) == [SUCCESS] * len(made)
    await served.settled()
    async with Grants(served.bus) as grants:
        conversation = await begun(served, grants, Service.QUERY)
        grant = await conversation.grant(Service.QUERY)
        answers = Interrupted(lambda: ended(contracts, subscriber, grant))
        query = Identifier(Root.STUDY, keys(PatientID=patient, StudyInstanceUID=""), IMPLICIT)
        outcome = await Finding(images=served.images, ae_title="X").find(conversation, query, answers)
    assert (outcome, answers.matches) == (NOT_ALLOWED, 2)


class LateQuota(Quota):
    """Has the contract cancelled when an image is durable already, right before it is registered."""

    def __init__(self, served: Site, cancel: Callable[[], Awaitable[None]]) -> None:
        super().__init__(served.bus, served.database)
        self._cancel = cancel

    async def take(self, grant: RequestAuthorized, size: int) -> Place | None:
        await self._cancel()
        return await super().take(grant, size)


@pytest.mark.parametrize("when", ["new", "duplicate", "durable"])
async def test_an_image_on_its_way_is_not_registered(
    served: Site, contracts: Contracts, subscriber: str, when: str
) -> None:
    image = outgoing(ct())
    if when == "duplicate":
        assert await served.store(image) == [SUCCESS]
    assert isinstance(image.content, bytes)
    late = LateQuota(served, lambda: ended(contracts, subscriber, received.grant))
    registrar = Registrar(
        bus=served.bus,
        blobs=served.blobs,
        images=served.images,
        database=served.database,
        quota=late if when == "durable" else Quota(served.bus, served.database),
        source="test",
        clock=utc_now,
    )
    storing = Storing(blobs=served.blobs, registrar=registrar)
    request = StoreRequest(
        sop_class_uid=image.sop_class_uid,
        sop_instance_uid=image.sop_instance_uid,
        transfer_syntax_uid=image.transfer_syntax_uid,
    )
    async with Grants(served.bus) as grants:
        conversation = await begun(served, grants, Service.REGISTRATION)
        received = await storing.receive(conversation, request, _once(image.content))
        if when != "durable":
            await ended(contracts, subscriber, received.grant)
        with pytest.raises(Refused) as caught:
            await storing.complete(received)
    assert caught.value.outcome == NOT_ALLOWED
    events = await served.events(IMAGES, ImageRegistered)
    assert [e.instance.sop_instance_uid for e in events].count(image.sop_instance_uid) == (
        when == "duplicate"
    )


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
