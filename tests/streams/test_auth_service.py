"""The auth processor as a process: requests on the log are answered on the log, whatever happens to it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import pytest
from aiokafka import AIOKafkaProducer
from tests.streams.processes import Worker, Workers, everything, records, workers

from medbus.bus import Bus, Start
from medbus.projections.database import Database
from medbus.projections.projector import Projector
from medbus.schemas.events import (
    Answer,
    Apparatus,
    Blob,
    CancellationRequested,
    DeadLettered,
    Decision,
    DeliveryRequested,
    Evidence,
    Header,
    ImageRegistered,
    Instance,
    Keep,
    Meta,
    Patient,
    ProcessingRequested,
    RegistrationRequested,
    RejectionReason,
    Request,
    RequestAuthorized,
    RequestRejected,
    ResultRequested,
    Role,
    Scope,
    Selection,
    Series,
    Study,
    Terms,
    VerificationRequested,
)
from medbus.schemas.topics import DEAD_LETTERS, DECISIONS, REQUESTS
from medbus.streams.contracts.commands import Cancel, Command, Contract
from medbus.streams.contracts.service import ContractService

AUTH = ("-m", "medbus.streams.auth")


def head() -> Meta:
    return Meta.first(uuid4(), source="test", occurred_at=datetime.now(UTC))


def shown(ae_title: str = "A_CT1", address: str = "127.0.0.1", *, certificate: str | None = None) -> Evidence:
    return Evidence(calling_ae_title=ae_title, address=address, certificate=certificate)


def registration(evidence: Evidence) -> RegistrationRequested:
    return RegistrationRequested(meta=head(), evidence=evidence)


def delivery(evidence: Evidence, destination: str | None = None, patient: str = "P1") -> DeliveryRequested:
    return DeliveryRequested(
        meta=head(),
        evidence=evidence,
        destination=destination,
        study_instance_uid="1.2.3",
        patients=(patient,),
    )


def processing(
    *destinations: str, keep: Keep = Keep.NEITHER, answer: Answer = Answer.FETCH
) -> ProcessingRequested:
    return ProcessingRequested(
        meta=head(),
        evidence=shown(),
        processing_type="mip",
        parameters={},
        images=Selection(series_instance_uids=("1.2.3",)),
        keep=keep,
        answer=answer,
        destinations=destinations,
    )


def contract(
    subscriber: str,
    *roles: Role,
    networks: tuple[str, ...] = ("127.0.0.0/8",),
    scope: Scope = Scope(),  # noqa: B008
    capacity: int | None = None,
    webhook: str | None = None,
) -> Contract:
    """A contract of a subscriber with the apparatuses X_CT1, and X_WS1 that images can be sent to."""
    return Contract(
        command_id=uuid4(),
        at=datetime.now(UTC),
        source="test",
        subscriber=subscriber,
        terms=Terms(
            name=subscriber,
            roles=roles or (Role.IMAGE_REGISTERING, Role.IMAGE_RECEIVING),
            apparatuses=(
                Apparatus(apparatus_id=f"{subscriber}_CT#1", ae_title=f"{subscriber}_CT1", modality="CT"),
                Apparatus(
                    apparatus_id=f"{subscriber}_WS#1",
                    ae_title=f"{subscriber}_WS1",
                    host="127.0.0.1",
                    port=104,
                ),
            ),
            networks=networks,
            scope=scope,
            capacity_bytes=capacity,
            webhook=webhook,
        ),
    )


class Site:
    """A service that has a log, catalogs that follow it, and auth workers."""

    def __init__(self, bus: Bus, crew: Workers, url: str) -> None:
        self.bus = bus
        self.url = url
        self._crew = crew

    async def worker(self, *options: str) -> Worker:
        """Start an auth worker."""
        return await self._crew.start("--database", self.url, *options, program=AUTH)

    async def carry_out(self, *commands: Command) -> None:
        """Give commands about contracts, and wait until the directory knows."""
        service = ContractService(self.bus)
        async with Database(self.url) as database:
            for command in commands:
                for recorded in await service.handle(command):
                    assert await database.reached(recorded.position, 10), "the directory lags behind"

    async def ask(self, *requests: Request, within: float = 20.0) -> list[Decision]:
        """Publish requests and wait for the decisions, in the order of the requests."""
        decisions: dict[UUID, Decision] = {}
        wanted = {request.request_id for request in requests}
        async with self.bus.subscribe(DECISIONS, start=Start.END) as batches:
            await self.bus.publish_all(requests)
            try:
                async with asyncio.timeout(within):
                    async for batch in batches:
                        for record in batch:
                            assert isinstance(record.event, RequestAuthorized | RequestRejected)
                            decisions.setdefault(record.event.request_id, record.event)
                        if wanted <= decisions.keys():
                            break
            except TimeoutError:
                missing = len(wanted - decisions.keys())
                raise AssertionError(f"{missing} of {len(wanted)} undecided after {within} s") from None
        return [decisions[request.request_id] for request in requests]


@asynccontextmanager
async def projected(bus: Bus, url: str) -> AsyncIterator[None]:
    """The catalogs follow the log."""
    stop = asyncio.Event()
    async with Database(url, writer=True) as database:
        projector = Projector(bus, database)
        await projector.catch_up()
        following = asyncio.create_task(projector.run(stop))
        try:
            yield
        finally:
            stop.set()
            await following


@pytest.fixture
async def site(bus: Bus, tmp_path: Path) -> AsyncIterator[Site]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'catalog.sqlite'}"
    async with projected(bus, url), workers(bus) as crew:
        yield Site(bus, crew, url)


def reasons(decisions: Sequence[Decision]) -> list[RejectionReason | None]:
    return [each.reason if isinstance(each, RequestRejected) else None for each in decisions]


async def test_every_request_is_answered_with_a_grant_or_the_reason_against_it(site: Site) -> None:
    await site.worker()
    await site.carry_out(
        contract("A", scope=Scope(patients=("P1",))),
        contract("B", Role.IMAGE_SENDING, networks=("192.0.2.0/24",)),
        contract("C"),
        contract("F", capacity=0),
        Cancel(command_id=uuid4(), at=datetime.now(UTC), source="test", subscriber="C", reason="left"),
    )
    decisions = await site.ask(
        registration(shown()),
        delivery(shown(), "A_WS1"),
        registration(shown("X_CT1")),
        registration(shown("C_CT1")),
        registration(shown("B_CT1", "192.0.2.1")),
        registration(shown("B_CT1")),
        registration(shown(certificate="00" * 32)),
        delivery(shown(), patient="P2"),
        registration(shown("F_CT1")),
        delivery(shown(), "NOBODY"),
        delivery(shown(), "B_WS1"),
    )
    assert reasons(decisions) == [
        None,
        None,
        RejectionReason.UNKNOWN_SUBSCRIBER,
        RejectionReason.CONTRACT_CANCELLED,
        RejectionReason.WRONG_ROLE,
        RejectionReason.WRONG_NETWORK,
        RejectionReason.WRONG_CREDENTIAL,
        RejectionReason.OUT_OF_SCOPE,
        RejectionReason.NO_CAPACITY_LEFT,
        RejectionReason.UNKNOWN_DESTINATION,
        RejectionReason.UNKNOWN_DESTINATION,
    ]
    grant = decisions[0]
    assert isinstance(grant, RequestAuthorized)
    assert (grant.subscriber, grant.apparatus_id, grant.scope) == ("A", "A_CT#1", Scope(patients=("P1",)))
    assert grant.meta.source == "auth"
    assert await everything(site.bus, DEAD_LETTERS) == []


async def test_a_contract_that_is_cancelled_ends_the_grants(site: Site) -> None:
    await site.worker()
    await site.carry_out(contract("A"))
    assert reasons(await site.ask(registration(shown()))) == [None]
    await site.carry_out(
        Cancel(command_id=uuid4(), at=datetime.now(UTC), source="test", subscriber="A", reason="left")
    )
    assert reasons(await site.ask(registration(shown()))) == [RejectionReason.CONTRACT_CANCELLED]


async def test_what_is_registered_counts_against_the_capacity(site: Site) -> None:
    await site.worker()
    await site.carry_out(contract("A", capacity=1000))
    position = await site.bus.publish(image("A", size=400))
    async with Database(site.url) as database:
        assert await database.reached(position, 10)
    (grant,) = await site.ask(registration(shown()))
    assert isinstance(grant, RequestAuthorized)
    assert grant.max_bytes == 600


async def test_results_go_to_whom_the_contracts_let_them(site: Site) -> None:
    await site.worker()
    await site.carry_out(
        contract("A", scope=Scope(patients=("P1", "P2")), capacity=1000),
        contract("B", Role.IMAGE_RECEIVING, scope=Scope(patients=("P2",)), webhook="https://b.example/in"),
        contract("C", Role.IMAGE_SENDING),
    )
    position = await site.bus.publish(image("A", size=400))
    async with Database(site.url) as database:
        assert await database.reached(position, 10)
    decisions = await site.ask(
        processing(),
        processing("B", answer=Answer.WEBHOOK),
        processing("A", "B", keep=Keep.AFTER, answer=Answer.C_STORE),
        processing("C"),
        processing("D"),
        processing("A", "B", answer=Answer.WEBHOOK),
        ResultRequested(meta=head(), evidence=shown(), processing_id=uuid4()),
        CancellationRequested(meta=head(), evidence=shown("C_CT1"), processing_id=uuid4()),
    )
    assert reasons(decisions) == [
        None,
        None,
        None,
        RejectionReason.UNKNOWN_DESTINATION,
        RejectionReason.UNKNOWN_DESTINATION,
        RejectionReason.UNKNOWN_DESTINATION,
        None,
        RejectionReason.WRONG_ROLE,
    ]
    grants = [each for each in decisions if isinstance(each, RequestAuthorized)]
    assert [each.scope.patients for each in grants] == [("P1", "P2"), ("P2",), ("P2",), ("P1", "P2")]
    assert [(each.max_bytes, each.used_bytes) for each in grants[:3]] == [
        (None, None),
        (None, None),
        (600, 400),
    ]


async def test_every_request_is_decided_when_workers_come_and_go(site: Site) -> None:
    first, second = await asyncio.gather(site.worker(), site.worker())
    await site.carry_out(contract("A"))
    requests = [registration(shown("A_CT1" if number % 2 else "X_CT1")) for number in range(300)]

    async def disturb() -> None:
        await asyncio.sleep(0.3)
        await first.end(signal.SIGKILL, within=5)
        await site.worker()
        assert await second.end(signal.SIGTERM, within=5) == 0

    disturbing = asyncio.create_task(disturb())
    decisions: list[Decision] = []
    for start in range(0, len(requests), 30):
        decisions += await site.ask(*requests[start : start + 30], within=30)
    await disturbing
    expected = [None if number % 2 else RejectionReason.UNKNOWN_SUBSCRIBER for number in range(300)]
    assert reasons(decisions) == expected
    # Some may have been decided twice, but always under the same identity.
    found = [record.event for record in await everything(site.bus)]
    assert {
        event.meta.event_id for event in found if isinstance(event, RequestAuthorized | RequestRejected)
    } == {decision.meta.event_id for decision in decisions}


async def test_a_request_that_does_not_decode_is_refused_and_kept(site: Site) -> None:
    await site.worker()
    await site.carry_out(contract("A"))
    request_id = uuid4()
    producer = AIOKafkaProducer(bootstrap_servers=site.bus.bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(
            REQUESTS.full_name(site.bus.prefix), b"\x00\x00\x00\x00\x01nonsense", key=str(request_id).encode()
        )
    finally:
        await producer.stop()
    (record,) = await records(site.bus, DECISIONS, count=1)
    assert isinstance(record.event, RequestRejected)
    assert (record.event.request_id, record.event.reason) == (request_id, RejectionReason.UNDECIDABLE)
    # The catalog of requests can't take it up either.
    letters = [record.event for record in await records(site.bus, DEAD_LETTERS, count=2)]
    assert {each.processor for each in letters if isinstance(each, DeadLettered)} == {"auth", "projector"}
    assert {each.value for each in letters if isinstance(each, DeadLettered)} == {
        b"\x00\x00\x00\x00\x01nonsense"
    }
    assert reasons(await site.ask(registration(shown()))) == [None]


async def test_without_a_catalog_a_request_is_refused_within_seconds_and_kept(
    bus: Bus, tmp_path: Path
) -> None:
    async with workers(bus) as crew:
        site = Site(bus, crew, f"sqlite+aiosqlite:///{tmp_path / 'catalog.sqlite'}")
        await site.worker()
        request = registration(shown())
        assert reasons(await site.ask(request, within=10)) == [RejectionReason.UNDECIDABLE]
        (record,) = await records(bus, DEAD_LETTERS, count=1)
        assert isinstance(record.event, DeadLettered)
        assert record.event.meta.cause_id == request.request_id
        assert record.event.error.startswith("CatalogMissing: ")

        async with projected(bus, site.url):
            await site.carry_out(contract("A"))
            assert reasons(await site.ask(registration(shown()))) == [None]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_and_it_never_listened(site: Site, number: signal.Signals) -> None:
    worker = await site.worker("--member", "auth-1")
    await site.ask(VerificationRequested(meta=head(), evidence=shown()))
    connections = psutil.Process(worker.process.pid).net_connections()
    assert connections
    assert [each for each in connections if each.status == psutil.CONN_LISTEN] == []
    assert await worker.end(number, within=5) == 0
    assert "Traceback" not in worker.output()


def image(registrant: str, *, size: int) -> ImageRegistered:
    return ImageRegistered(
        meta=head(),
        grant_id=uuid4(),
        registrant=registrant,
        patient=Patient(patient_id="P1"),
        study=Study(study_instance_uid="1.2.3"),
        series=Series(series_instance_uid="1.2.3.4", modality="CT"),
        instance=Instance(sop_instance_uid="1.2.3.4.5", sop_class_uid="1.2.840.10008.5.1.4.1.1.2"),
        conditions={},
        header=Header(transfer_syntax_uid="1.2.840.10008.1.2.1", data=b""),
        blob=Blob(digest="blake3:00", size=size, transfer_syntax_uid="1.2.840.10008.1.2.1"),
    )
