"""Capacity over the network: conversations at once never register more than the contract allocates."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from pydicom.dataset import Dataset
from tests.gateways.dicom.encoded import CT_IMAGE_STORAGE, EXPLICIT, ct, encode
from tests.gateways.images import outgoing
from tests.gateways.opened import Opened, opened
from tests.gateways.site import Site

from medbus.gateways.dicom.status import Outcome
from medbus.schemas.events import ImageRegistered
from medbus.schemas.topics import IMAGES

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

STORING = [(CT_IMAGE_STORAGE, [EXPLICIT])]


def slice_() -> Dataset:
    """An image that is as long as all others here."""
    return ct(
        **{f"{each}InstanceUID": f"2.25.{uuid4().int | 1 << 127}" for each in ("SOP", "Study", "Series")}
    )


SIZE = len(encode(slice_()))


@pytest.fixture
def subscriber(served: Site) -> str:
    """A subscriber of this test only, as which MODALITY acts; with room for ten images."""
    name = f"S-{uuid4().hex[:8]}"
    served.auth.subscribers["MODALITY"] = (name, "A_CT#1")
    served.auth.max_bytes, served.auth.used_bytes = 10 * SIZE + 1, 0
    return name


FULL = 0xA700
"""The status of an image for which there is no room, be it the grant's or the contract's that ended first."""


async def registered(site: Site, subscriber: str) -> int:
    """How many images of a subscriber the log has."""
    return sum(each.registrant == subscriber for each in await site.events(IMAGES, ImageRegistered))


async def send(association: Opened, *images: Dataset) -> list[int]:
    """Send images, one after another; the status of each."""
    return [(await association.store(outgoing(each))).code for each in images]


async def filled(*associations: Opened) -> list[int]:
    """Send images under all of them at once, more than there is room for."""
    answers = await asyncio.gather(*(send(each, *(slice_() for _ in range(15))) for each in associations))
    return [code for each in answers for code in each]


async def test_two_associations_at_once_share_the_room(served: Site, subscriber: str) -> None:
    async with opened(served, STORING) as first, opened(served, STORING) as second:
        answers = await filled(first, second)
    assert answers.count(0) == 10, "of thirty, those for which there was room"
    assert answers.count(FULL) == 20
    assert await registered(served, subscriber) == 10


async def test_two_gateways_exceed_the_room_by_no_more_than_what_is_in_flight(
    served: Site, subscriber: str
) -> None:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(served.another_gateway())
        ports = [None, None, other, other]
        associations = [await stack.enter_async_context(opened(served, STORING, port=port)) for port in ports]
        answers = await filled(*associations)
    in_flight = len(associations) - 1
    assert 10 <= answers.count(0) <= 10 + in_flight
    assert answers.count(0) + answers.count(FULL) == 60
    assert await registered(served, subscriber) == answers.count(0)


async def test_the_answer_says_whose_room_ended(served: Site, subscriber: str) -> None:
    async with opened(served, STORING) as first, opened(served, STORING) as second:
        assert await send(first, *(slice_() for _ in range(10))) == [0] * 10
        grant, contract = [await each.store(outgoing(slice_())) for each in (first, second)]
    assert grant == Outcome(FULL, f"The grant's {10 * SIZE + 1} bytes are used up.")
    assert contract == Outcome(FULL, f"The contract's {10 * SIZE + 1} bytes are used up.")


async def test_a_duplicate_needs_no_room(served: Site, subscriber: str) -> None:
    images = [slice_() for _ in range(11)]
    async with opened(served, STORING) as association:
        assert await send(association, *images) == [0] * 10 + [FULL]
        assert await send(association, images[0]) == [0]
        await served.settled()
        assert await send(association, images[1], images[10]) == [0, FULL]


async def test_an_image_that_is_refused_takes_no_room(served: Site, subscriber: str) -> None:
    images = [slice_() for _ in range(10)]
    changed = slice_()
    changed.SOPInstanceUID = images[0].SOPInstanceUID
    async with opened(served, STORING) as association:
        assert await send(association, images[0], changed, changed) == [0, 0x0111, 0x0111]
        assert await send(association, *images[1:]) == [0] * 9


async def test_a_grant_under_a_raised_capacity_has_more_room(served: Site, subscriber: str) -> None:
    async with opened(served, STORING) as before:
        assert await send(before, *(slice_() for _ in range(11))) == [0] * 10 + [FULL]
        await served.settled()
        usage = await served.images.usage(subscriber)
        assert usage.bytes == 10 * SIZE
        served.auth.max_bytes, served.auth.used_bytes = 2 * SIZE + 1, usage.bytes
        async with opened(served, STORING) as after:
            assert await send(after, *(slice_() for _ in range(3))) == [0, 0, FULL]
        assert await send(before, slice_()) == [FULL], "the old grant says what it said"
    assert await registered(served, subscriber) == 12
