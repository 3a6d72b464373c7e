"""One retrieval under way: sends image after image, counts, and logs what arrived and what did not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.gateways.dicom.outgoing import Counts, Outlet, Requester, Retrieved, Unreachable
from medbus.gateways.dicom.preparing import NotDelivered, Pipeline, Preparation, check
from medbus.gateways.dicom.status import SUCCESS, Code, Outcome
from medbus.gateways.grants import CANCELLED, Clock, Exhausted, Grant, Rejected, Undecided
from medbus.projections.images import StoredImage
from medbus.schemas.errors import BusError
from medbus.schemas.events import Channel, DeliveryFailed, Event, ImageDelivered

log = logging.getLogger(__name__)

_PUBLISHED_TOGETHER = 50
_PUBLISH_TIMEOUT = 60.0


class ContractEnded(Exception):
    """A contract was cancelled before an image went out."""


class Delivery:
    """Sends the images of one retrieval.

    Args:
        bus: where deliveries are put on the log.
        blobs: where the images are.
        clock: the time.
        source: names this gateway in events.
        channel: C-GET or C-MOVE.
        destination: AE title of the recipient.
        recipient: the subscriber that receives; None: the one that was granted.
        originator: AE title and message id of a C-MOVE.
        grants: by Study Instance UID; images of other studies are not sent.
        renew: asks for a new grant for an image whose grant has expired.
        cancelled: whether the contract of a subscriber was cancelled.
        requester: told how far it has come.
        total: how many images there are.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        blobs: BlobStore,
        clock: Clock,
        source: str,
        channel: Channel,
        destination: str,
        recipient: str | None,
        originator: tuple[str, int] | None,
        grants: dict[str, Grant],
        renew: Callable[[StoredImage], Awaitable[Grant]],
        cancelled: Callable[[str], bool],
        requester: Requester,
        total: int,
    ) -> None:
        self._bus = bus
        self._blobs = blobs
        self._clock = clock
        self._source = source
        self._channel = channel
        self._destination = destination
        self._recipient = recipient
        self._originator = originator
        self._grants = grants
        self._renew = renew
        self._contract_cancelled = cancelled
        self._requester = requester
        self._total = total
        self._completed = 0
        self._warning = 0
        self._failed: list[str] = []
        self._events: list[Event] = []
        self._publishing: list[asyncio.Task[object]] = []
        self._last_reason = ""

    @property
    def cancelled(self) -> bool:
        """Whether to stop."""
        return self._requester.cancelled()

    @property
    def ended(self) -> bool:
        """Whether nothing more may go out: the contract of either side was cancelled."""
        return any(map(self._over, self._grants.values()))

    @property
    def counts(self) -> Counts:
        done = self._completed + self._warning + len(self._failed)
        return Counts(
            remaining=self._total - done,
            completed=self._completed,
            failed=len(self._failed),
            warning=self._warning,
        )

    async def send(self, images: Sequence[StoredImage], outlet: Outlet) -> None:
        """Send images in turn, until the requester cancels. The next is read while one is on its way.

        An outlet that breaks fails the image that was on its way and all that follow; so does a contract that
        is cancelled, from the next image on.
        """
        pipeline = Pipeline(images, outlet, self._blobs, originator=self._originator)
        try:
            for index, image in enumerate(images):
                if self.cancelled:
                    return
                try:
                    await self._deliver(image, pipeline.take(), outlet)
                except ContractEnded:
                    await self.give_up(images[index:], CANCELLED)
                    return
                except Unreachable as error:
                    await self.give_up(images[index:], str(error))
                    return
                await self._requester.pending(self.counts)
        finally:
            await pipeline.end()

    async def give_up(self, images: Sequence[StoredImage], reason: str) -> None:
        """Count images as failed because they can't be sent."""
        for image in images:
            self._fail(image, NotDelivered(reason))
        await self._requester.pending(self.counts)

    async def finish(self) -> Retrieved:
        """Wait until the log has every delivery; how it ended.

        Returns:
            0000H: all arrived. B000H: some did not. A702H: none did. FE00H: cancelled.
            C000H: the log did not take what was delivered.
        """
        counts = self.counts
        failed = tuple(self._failed)
        try:
            async with asyncio.timeout(_PUBLISH_TIMEOUT):
                self._flush(everything=True)
                await asyncio.gather(*self._publishing)
        except (BusError, TimeoutError):
            log.exception("deliveries to %s are not on the log", self._destination)
            outcome = Outcome.refused(Code.CANNOT_UNDERSTAND, "the event log did not take the deliveries")
            return Retrieved(outcome, counts, failed)
        if counts.remaining:
            return Retrieved(Outcome(Code.CANCEL), counts, failed)
        if not counts.failed and not counts.warning:
            return Retrieved(SUCCESS, counts)
        if counts.failed == self._total:
            outcome = Outcome.refused(Code.UNABLE_TO_PERFORM_SUBOPERATIONS, self._last_reason)
            return Retrieved(outcome, counts, failed)
        return Retrieved(Outcome(Code.SUBOPERATIONS_COMPLETE_WITH_FAILURES), counts, failed)

    async def _deliver(self, image: StoredImage, prepared: Preparation, outlet: Outlet) -> None:
        try:
            grant = await self._grant(image)
            outgoing = await prepared.outgoing
            if self._over(grant):
                raise ContractEnded
            grant.take(outgoing.size)
            outcome = await outlet.store(outgoing)
            check(outcome)
        except NotDelivered as error:
            self._fail(image, error)
            return
        except Exhausted as error:
            self._fail(image, NotDelivered(error.message))
            return
        finally:
            await prepared.end()
        if outcome.code == Code.SUCCESS:
            self._completed += 1
        else:
            self._warning += 1
        self._record(
            ImageDelivered(
                meta=grant.decision.meta.caused(
                    image.sop_instance_uid, source=self._source, occurred_at=self._clock()
                ),
                grant_id=grant.grant_id,
                subscriber=self._recipient or grant.subscriber,
                channel=self._channel,
                destination=self._destination,
                study_instance_uid=image.study_instance_uid,
                sop_instance_uid=image.sop_instance_uid,
                digest=image.blob.digest,
                size=outgoing.size,
                transfer_syntax_uid=outgoing.transfer_syntax_uid,
            )
        )

    async def _grant(self, image: StoredImage) -> Grant:
        grant = self._grants.get(image.study_instance_uid)
        if grant is None:
            raise NotDelivered("the study was not granted")
        if grant.expired(self._clock()):
            if self._over(grant):
                raise ContractEnded
            try:
                grant = self._grants[image.study_instance_uid] = await self._renew(image)
            except (Rejected, Undecided) as error:
                raise NotDelivered(f"the grant expired: {error.message}") from error
        return grant

    def _over(self, grant: Grant) -> bool:
        return grant.ended or (self._recipient is not None and self._contract_cancelled(self._recipient))

    def _fail(self, image: StoredImage, error: NotDelivered) -> None:
        log.info("%s not delivered to %s: %s", image.sop_instance_uid, self._destination, error)
        self._failed.append(image.sop_instance_uid)
        self._last_reason = str(error)
        grant = self._grants.get(image.study_instance_uid)
        if grant is None:  # the rejection is on the log already
            return
        self._record(
            DeliveryFailed(
                meta=grant.decision.meta.caused(
                    f"failed:{image.sop_instance_uid}", source=self._source, occurred_at=self._clock()
                ),
                grant_id=grant.grant_id,
                subscriber=self._recipient or grant.subscriber,
                channel=self._channel,
                destination=self._destination,
                study_instance_uid=image.study_instance_uid,
                sop_instance_uid=image.sop_instance_uid,
                status=error.status,
                reason=str(error),
            )
        )

    def _record(self, event: Event) -> None:
        self._events.append(event)
        self._flush()

    def _flush(self, *, everything: bool = False) -> None:
        if self._events and (everything or len(self._events) >= _PUBLISHED_TOGETHER):
            self._publishing.append(asyncio.create_task(self._bus.publish_all(self._events)))
            self._events = []
