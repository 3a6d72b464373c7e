"""Associations with a source, held by the event loop while threads do what blocks."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from medbus.gateways.collector.errors import SourceFailed
from medbus.gateways.collector.thread import in_thread
from medbus.gateways.dicom.client.peer import Peer
from medbus.gateways.dicom.outgoing import Contexts, Unreachable
from medbus.gateways.dicom.pynetdicom.inflow import CutShort
from medbus.gateways.dicom.pynetdicom.messages import Message
from medbus.gateways.dicom.pynetdicom.requester import Requester


@asynccontextmanager
async def association(
    peer: Peer, contexts: Contexts, *, receiving: Collection[str] = ()
) -> AsyncIterator[Requester]:
    """An association: released at the end, aborted by an error. One that is given up while it is asked for
    ends by itself.

    Raises:
        SourceFailed: there is none, or the source left it.
    """
    requester = peer.requester(contexts, receiving=receiving)
    opening = asyncio.create_task(in_thread(requester.__enter__))
    try:
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(partial(_end_late, requester))
            raise
        try:
            yield requester
        except BaseException as error:
            # Also lets go of a thread that waits for the source.
            closing = in_thread(partial(requester.__exit__, type(error), error, None))
            with suppress(Exception):
                await asyncio.shield(asyncio.ensure_future(closing))
            raise
        await in_thread(partial(requester.__exit__, None, None, None))
    except (Unreachable, CutShort) as error:
        raise failed(peer, error) from error


def failed(peer: Peer, error: Unreachable | CutShort) -> SourceFailed:
    """The same error as one of the source."""
    if isinstance(error, CutShort):
        error = Unreachable("left in the middle of an image")
    said = peer.unreachable(error)
    return SourceFailed(said.message, f"Is it running, and does it know the AE title {peer.calling}?")


async def messages(iterator: Iterator[Message]) -> AsyncIterator[Message]:
    """What comes, one by one. Raises Unreachable."""
    while (message := await in_thread(partial(next, iterator, None))) is not None:
        yield message


def _end_late(requester: Requester, opening: "asyncio.Task[Requester]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        asyncio.ensure_future(  # noqa: RUF006 - it ends by itself
            in_thread(partial(requester.__exit__, asyncio.CancelledError, asyncio.CancelledError(), None))
        )
