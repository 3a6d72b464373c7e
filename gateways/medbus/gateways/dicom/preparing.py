"""Images on their way to a peer: read from the blob store, and converted where the peer wants that.

Whoever sends images prepares the next one while one is on its way.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from medbus.blobs import BlobCorrupted, BlobError, BlobNotFound, BlobStore
from medbus.gateways.dicom import transcoding
from medbus.gateways.dicom.outgoing import Outgoing, Outlet, Storable
from medbus.gateways.dicom.status import Code, Outcome, is_warning

log = logging.getLogger(__name__)

LARGEST_IN_MEMORY = 64 * 1024 * 1024
"""Bytes: a larger data set is streamed from the blob store, and is not converted."""


class NotDelivered(Exception):
    """An image did not arrive.

    Args:
        reason: why.
        status: what the recipient answered, if it did.
        passing: whether it may go better later, for reasons on this side.
    """

    def __init__(self, reason: str, status: int | None = None, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.passing = passing


class Preparation:
    """An image that is being read from the blob store, and converted where need be.

    Args:
        image: which.
        outlet: the association that it is for.
        blobs: where it is.
        originator: AE title and message id of the C-MOVE that it is for.

    Attributes:
        outgoing: the image, once it is ready; it raises NotDelivered where it can't be sent.
    """

    def __init__(
        self,
        image: Storable,
        outlet: Outlet,
        blobs: BlobStore,
        *,
        originator: tuple[str, int] | None = None,
    ) -> None:
        self._stack = AsyncExitStack()
        self.outgoing = asyncio.create_task(self._prepare(image, outlet, blobs, originator))

    async def end(self) -> None:
        """Let go of the image, however far it has come."""
        if not self.outgoing.done():
            self.outgoing.cancel()
            await asyncio.wait((self.outgoing,))
        if not self.outgoing.cancelled():
            self.outgoing.exception()  # whoever wanted the image has seen it
        await self._stack.aclose()

    async def _prepare(
        self, image: Storable, outlet: Outlet, blobs: BlobStore, originator: tuple[str, int] | None
    ) -> Outgoing:
        stored = image.blob.transfer_syntax_uid
        accepted = outlet.accepts(image.sop_class_uid)
        if not accepted:
            raise NotDelivered("the recipient does not take this SOP class", Code.SOP_CLASS_NOT_SUPPORTED)
        syntax = transcoding.target(stored, accepted)
        if syntax is None:
            raise NotDelivered(f"the recipient takes no transfer syntax that {stored} becomes")
        outgoing = Outgoing(
            sop_class_uid=image.sop_class_uid,
            sop_instance_uid=image.sop_instance_uid,
            transfer_syntax_uid=syntax,
            size=image.blob.size,
            content=lambda: blobs.blocking.stream(image.blob.digest),
            originator=originator,
        )
        try:
            if image.blob.size <= LARGEST_IN_MEMORY:
                if syntax == stored:
                    view = await self._stack.enter_async_context(blobs.view(image.blob.digest))
                    return replace(outgoing, content=view)
                data = await blobs.read(image.blob.digest)
                data = await asyncio.to_thread(transcoding.convert, data, stored, syntax)
                return replace(outgoing, content=data, size=len(data))
        except BlobError as error:
            log.exception("%s can't be sent", image.sop_instance_uid)
            lost = isinstance(error, BlobNotFound | BlobCorrupted)
            raise NotDelivered("the stored image can't be read", passing=not lost) from error
        except transcoding.NotConvertible as error:
            raise NotDelivered(error.message) from error
        if syntax != stored:
            raise NotDelivered(f"{image.blob.size} bytes are too many to convert from {stored}")
        return outgoing


class Pipeline:
    """Prepares images one after the other: the next while one is on its way.

    Args:
        images: in the order in which they are taken.
        outlet, blobs, originator: as for `Preparation`.
    """

    def __init__(
        self,
        images: Sequence[Storable],
        outlet: Outlet,
        blobs: BlobStore,
        *,
        originator: tuple[str, int] | None = None,
    ) -> None:
        self._images = iter(images)
        self._begin = partial(Preparation, outlet=outlet, blobs=blobs, originator=originator)
        self._following: Preparation | None = None

    def take(self) -> Preparation:
        """The next image; whoever takes it ends it."""
        current = self._following or self._begin(next(self._images))
        following = next(self._images, None)
        self._following = None if following is None else self._begin(following)
        return current

    async def end(self) -> None:
        """Let go of the image that was not taken."""
        if self._following is not None:
            await self._following.end()


def check(outcome: Outcome) -> None:
    """Go on only if a peer has taken an image.

    Raises:
        NotDelivered: it has not; with its status.
    """
    if outcome.code != Code.SUCCESS and not is_warning(outcome.code):
        said = f"the recipient answered {outcome.code:04X}H {outcome.comment}"
        raise NotDelivered(said.rstrip(), outcome.code)
