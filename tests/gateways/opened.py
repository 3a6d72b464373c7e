"""An association that stays open between the requests of a test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from tests.gateways.site import PATIENCE, Site

from medbus.gateways.dicom.command import Command, Field
from medbus.gateways.dicom.outgoing import Contexts, Outgoing
from medbus.gateways.dicom.pynetdicom.requester import Requester
from medbus.gateways.dicom.status import SUCCESS, Outcome, is_pending


class Opened:
    """Requests under one association, for an event loop."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester

    async def store(self, image: Outgoing) -> Outcome:
        """C-STORE."""
        return await asyncio.wait_for(asyncio.to_thread(self._requester.store, image), PATIENCE)

    async def find(self, sop_class: str, keys: bytes) -> list[Outcome]:
        """C-FIND: how each response ended."""

        def work() -> list[Outcome]:
            return [outcome for outcome, _ in self._requester.find(sop_class, keys)]

        return await asyncio.wait_for(asyncio.to_thread(work), PATIENCE)

    async def get(
        self, sop_class: str, keys: bytes, came: Callable[[int], Awaitable[None]] | None = None
    ) -> tuple[Command, list[str]]:
        """C-GET: the final response, and what came. `came` has the number of each image before its answer."""
        loop, requester = asyncio.get_running_loop(), self._requester

        def work() -> tuple[Command, list[str]]:
            images: list[str] = []
            for message in requester.get(sop_class, keys):
                command = message.command
                if command.field == Field.C_STORE:
                    images.append(command.affected_instance)
                    message.data.drain()
                    if came is not None:
                        asyncio.run_coroutine_threadsafe(_done(came(len(images))), loop).result(PATIENCE)
                    requester.answer(message, SUCCESS)
                elif not is_pending(command.status):
                    return command, images
            raise AssertionError("there was no final response")

        return await asyncio.wait_for(asyncio.to_thread(work), 2 * PATIENCE)

    async def move(self, sop_class: str, destination: str, keys: bytes) -> Command:
        """C-MOVE: the final response."""

        def work() -> Command:
            return [each.command for each in self._requester.move(sop_class, destination, keys)][-1]

        return await asyncio.wait_for(asyncio.to_thread(work), 2 * PATIENCE)


@asynccontextmanager
async def opened(
    site: Site,
    contexts: Contexts,
    *,
    receiving: Collection[str] = (),
    calling: str = "MODALITY",
    port: int | None = None,
) -> AsyncIterator[Opened]:
    """An association with the site's gateway, or with another at this port; it is released at the end."""
    peer = site.peer(calling) if port is None else site.peer(calling, port=port)
    requester = peer.requester(contexts, receiving=receiving)
    await asyncio.to_thread(requester.__enter__)
    try:
        yield Opened(requester)
    finally:
        await asyncio.to_thread(requester.__exit__, None, None, None)


async def _done(awaited: Awaitable[None]) -> None:
    await awaited
