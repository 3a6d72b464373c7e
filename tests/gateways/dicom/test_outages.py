"""What the gateway answers while Kafka or the blob store do not."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.gateways.dicom.encoded import CT_IMAGE_STORAGE, EXPLICIT, ct
from tests.gateways.images import outgoing
from tests.gateways.site import ALWAYS_ONE, IMPLEMENTATIONS, Site, site

from medbus.compose.kafka import EmbeddedKafka
from medbus.gateways.dicom.outgoing import Unreachable
from medbus.gateways.dicom.status import SUCCESS, Outcome
from medbus.schemas.events import ImageRegistered
from medbus.schemas.topics import IMAGES

pytestmark = [pytest.mark.timeout(180)]


@pytest.fixture(params=ALWAYS_ONE)
def implementation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def fresh(kafka: str, tmp_path: Path, implementation: str) -> AsyncIterator[Site]:
    async with site(kafka, tmp_path, IMPLEMENTATIONS[implementation]) as opened:
        yield opened


async def test_an_image_that_can_not_be_kept_is_refused(fresh: Site, tmp_path: Path) -> None:
    image = ct()
    blobs = tmp_path / "blobs"
    aside = blobs.rename(tmp_path / "aside")
    blobs.write_text("in the way")
    assert await fresh.store(outgoing(image)) == [
        Outcome(0xA700, "the image can't be kept now, send it later")
    ]
    assert await fresh.events(IMAGES, ImageRegistered) == []
    blobs.unlink()
    aside.rename(blobs)
    assert await fresh.store(outgoing(image)) == [SUCCESS]


async def test_an_image_whose_fate_is_unknown_is_neither_confirmed_nor_refused(
    tmp_path: Path, implementation: str
) -> None:
    images = [ct() for _ in range(3)]
    async with (
        EmbeddedKafka(tmp_path / "kafka") as broker,
        site(
            broker.bootstrap,
            tmp_path,
            IMPLEMENTATIONS[implementation],
            publish_timeout=2.0,
            decision_timeout=2.0,
        ) as opened,
    ):
        assert broker.pid is not None
        requester = opened.peer().requester([(CT_IMAGE_STORAGE, [EXPLICIT])])
        await asyncio.to_thread(requester.__enter__)
        assert await asyncio.to_thread(requester.store, outgoing(images[0])) == SUCCESS
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            with pytest.raises(Unreachable, match="ended the association"):
                await asyncio.to_thread(requester.store, outgoing(images[1]))
            await asyncio.to_thread(requester.__exit__, None, None, None)
            with pytest.raises(Unreachable, match="for now: temporary congestion"):
                await opened.store(outgoing(images[2]))
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        for _ in range(100):  # the gateway finds its way back by itself
            try:
                assert await opened.store(*map(outgoing, images)) == [SUCCESS] * 3
            except Unreachable:
                await asyncio.sleep(0.2)
            else:
                break
        await opened.settled()
        events = await opened.events(IMAGES, ImageRegistered)
        ids = {each.meta.event_id for each in events}
        assert len(ids) == 3, "sent again, an image is the same event"
        stored = await opened.images.images([str(each.SOPInstanceUID) for each in images])
        assert len(stored) == 3
