"""Several processes share the DICOM port; one that dies takes only its own associations with it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.gateways.dicom.encoded import ct
from tests.gateways.images import outgoing
from tests.running_service import RunningService

from medbus.gateways.dicom.outgoing import Unreachable
from medbus.gateways.dicom.status import SUCCESS, Outcome
from medbus.schemas.events import Apparatus, Role, Terms

ASSOCIATIONS = 4


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    running = RunningService(tmp_path / "home")
    try:
        await asyncio.to_thread(running.start)
        modality = Apparatus(apparatus_id="A_CT#1", ae_title="A_CT1", modality="CT")
        await running.contract(
            "A-hospital",
            Terms(
                name="A",
                roles=(Role.IMAGE_REGISTERING,),
                apparatuses=(modality,),
                networks=("127.0.0.0/8",),
            ),
        )
        yield running
        running.stop()
    finally:
        running.close()


async def test_a_process_that_dies_takes_only_its_own_associations_with_it(
    service: RunningService,
) -> None:
    images = [outgoing(ct()) for _ in range(3 * ASSOCIATIONS)]
    proposed = [(images[0].sop_class_uid, [images[0].transfer_syntax_uid])]

    def work() -> tuple[list[Outcome | None], list[Outcome]]:
        with ExitStack() as stack:
            requesters = [service.peer("A_CT1").requester(proposed) for _ in range(ASSOCIATIONS)]
            for each in requesters:
                stack.enter_context(each)
            for number, each in enumerate(requesters):
                assert each.store(images[number]) == SUCCESS
            os.kill(service.pids("gateway-dicom")[0], signal.SIGKILL)
            after: list[Outcome | None] = []
            for number, each in enumerate(requesters, start=ASSOCIATIONS):
                try:
                    after.append(each.store(images[number]))
                except Unreachable:
                    after.append(None)
        # While the one is being started again, the other takes everybody.
        new: list[Outcome] = []
        for number in range(2 * ASSOCIATIONS, 3 * ASSOCIATIONS):
            with service.peer("A_CT1").requester(proposed) as requester:
                new.append(requester.store(images[number]))
        return after, new

    after, new = await asyncio.to_thread(work)
    assert sorted(after, key=str) == sorted([SUCCESS, SUCCESS, None, None], key=str)
    assert new == [SUCCESS] * ASSOCIATIONS
    await service.until(lambda: len(service.pids("gateway-dicom")) == 2, "both processes to be up again")
