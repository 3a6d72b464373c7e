"""Results by C-STORE: to the first apparatus of the destination that has host and port (PS3.4 Annex B)."""

import logging
from collections.abc import Sequence

from medbus.blobs import BlobStore
from medbus.bus import Bus
from medbus.gateways.dicom.outgoing import (
    Address,
    Connector,
    NothingAccepted,
    Outgoing,
    Outlet,
    Unreachable,
    batches,
)
from medbus.gateways.dicom.preparing import NotDelivered, Pipeline, Preparation, check
from medbus.gateways.dicom.status import Code
from medbus.gateways.grants import Clock
from medbus.gateways.results.contracts import Contracts
from medbus.gateways.results.errand import LONGEST_REASON, Away, Errand, Impossible, Unfinished
from medbus.gateways.results.outbox import Outbox
from medbus.gateways.results.recorded import Recorded
from medbus.projections.processing import ProcessingReader, StoredResult
from medbus.schemas.events import Channel, DeliveryFailed, ImageDelivered, Terms

log = logging.getLogger(__name__)


class Sending:
    """Sends results, and puts on the log what arrived and what did not.

    What arrived is not sent again. An image that the destination refuses is given up, but where it says that
    it lacks resources it is asked again later, and so is what was under way when an association broke: the
    image at which it broke comes last then.

    Args:
        bus: the log.
        blobs: where results are.
        processing: the processing catalog.
        contracts: of the destinations.
        connector: opens associations.
        recorded: what was sent before this process began.
        source: names this process in events.
        clock: the time.
        publish_timeout: seconds to wait for the log.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        blobs: BlobStore,
        processing: ProcessingReader,
        contracts: Contracts,
        connector: Connector,
        recorded: Recorded,
        source: str,
        clock: Clock,
        publish_timeout: float,
    ) -> None:
        self._bus = bus
        self._blobs = blobs
        self._processing = processing
        self._contracts = contracts
        self._connector = connector
        self._recorded = recorded
        self._source = source
        self._clock = clock
        self._publish_timeout = publish_timeout

    async def attempt(self, errand: Errand) -> None:
        """Send what the destination does not have. Errors as `Means`."""
        missing = await self._missing(errand)
        address = self._address(errand, await self._contracts.terms(errand))
        outbox = Outbox(self._bus, self._publish_timeout)
        try:
            for batch, contexts in batches(missing):
                await self._send(errand, address, batch, contexts, outbox)
        finally:
            await outbox.close()
        if errand.postponed:
            raise Unfinished(next(iter(errand.postponed.values()))[0])
        self._count(errand)

    async def give_up(self, errand: Errand, reason: str) -> None:
        """What the destination does not have by now has failed."""
        outbox = Outbox(self._bus, self._publish_timeout)
        try:
            for image in await self._missing(errand):
                why, status = errand.postponed.get(image.sop_instance_uid, (reason, None))
                self._fail(errand, image, NotDelivered(why, status), outbox)
        finally:
            await outbox.close()
        self._count(errand)

    async def _send(
        self,
        errand: Errand,
        address: Address,
        batch: Sequence[StoredResult],
        contexts: Sequence[tuple[str, Sequence[str]]],
        outbox: Outbox,
    ) -> None:
        connected = False
        try:
            async with self._connector.connect(address, contexts) as outlet:
                connected = True
                await self._send_all(errand, batch, outlet, outbox)
        except NothingAccepted as error:
            refusal = NotDelivered(f"the recipient {error}", Code.SOP_CLASS_NOT_SUPPORTED)
            for image in batch:
                self._fail(errand, image, refusal, outbox)
        except Unreachable as error:
            said = f"{address.host}:{address.port} {error}"
            if not connected:
                raise Away(said) from error
            raise Unfinished(said) from error

    async def _send_all(
        self, errand: Errand, batch: Sequence[StoredResult], outlet: Outlet, outbox: Outbox
    ) -> None:
        pipeline = Pipeline(batch, outlet, self._blobs)
        try:
            for image in batch:
                prepared = pipeline.take()
                try:
                    await self._deliver(errand, image, prepared, outlet, outbox)
                except NotDelivered as error:
                    self._not_delivered(errand, image, error, outbox)
                except Unreachable:
                    errand.trouble[image.sop_instance_uid] += 1
                    raise
                finally:
                    await prepared.end()
        finally:
            await pipeline.end()

    async def _deliver(
        self, errand: Errand, image: StoredResult, prepared: Preparation, outlet: Outlet, outbox: Outbox
    ) -> None:
        outgoing = await prepared.outgoing
        self._contracts.check(errand)
        check(await outlet.store(outgoing))
        uid = image.sop_instance_uid
        errand.postponed.pop(uid, None)
        outbox.put(self._delivered(errand, image, outgoing), lambda: errand.arrived.add(uid))

    def _not_delivered(
        self, errand: Errand, image: StoredResult, error: NotDelivered, outbox: Outbox
    ) -> None:
        if error.passing or _lacks_resources(error.status):
            errand.postponed[image.sop_instance_uid] = (str(error), error.status)
        else:
            self._fail(errand, image, error, outbox)

    def _fail(self, errand: Errand, image: StoredResult, error: NotDelivered, outbox: Outbox) -> None:
        uid, reason = image.sop_instance_uid, str(error)[:LONGEST_REASON]
        errand.postponed.pop(uid, None)
        log.info("result %s not delivered to %s: %s", uid, errand.destination, reason)

        def written() -> None:
            errand.refused[uid] = reason

        outbox.put(
            DeliveryFailed(
                meta=errand.grant.meta.caused(
                    errand.kind("failed", uid), source=self._source, occurred_at=self._clock()
                ),
                grant_id=errand.grant.request_id,
                subscriber=errand.grant.subscriber,
                channel=Channel.C_STORE,
                destination=_ae_title(errand),
                study_instance_uid=image.study_instance_uid,
                sop_instance_uid=uid,
                status=error.status,
                reason=reason,
            ),
            written,
        )

    def _delivered(self, errand: Errand, image: StoredResult, outgoing: Outgoing) -> ImageDelivered:
        uid = image.sop_instance_uid
        return ImageDelivered(
            meta=errand.grant.meta.caused(
                errand.kind("delivered", uid), source=self._source, occurred_at=self._clock()
            ),
            grant_id=errand.grant.request_id,
            subscriber=errand.grant.subscriber,
            channel=Channel.C_STORE,
            destination=_ae_title(errand),
            study_instance_uid=image.study_instance_uid,
            sop_instance_uid=uid,
            digest=image.blob.digest,
            size=outgoing.size,
            transfer_syntax_uid=outgoing.transfer_syntax_uid,
        )

    async def _missing(self, errand: Errand) -> list[StoredResult]:
        """Results that neither arrived nor failed, each once; those that made trouble last."""
        results = {each.sop_instance_uid: each for each in await self._processing.results(errand.request_id)}
        if not errand.recalled:
            await self._recall(errand, results)
        missing = [
            image for uid, image in results.items() if uid not in errand.arrived and uid not in errand.refused
        ]
        return sorted(missing, key=lambda image: errand.trouble[image.sop_instance_uid])

    async def _recall(self, errand: Errand, results: dict[str, StoredResult]) -> None:
        """What the log says of this errand from before this process began."""
        recorded = await self._recorded.of(errand)
        for uid in results:
            if errand.event_id("delivered", uid) in recorded:
                errand.arrived.add(uid)
            elif (reason := recorded.get(errand.event_id("failed", uid))) is not None:
                errand.refused[uid] = reason
        errand.recalled = True

    @staticmethod
    def _address(errand: Errand, terms: Terms) -> Address:
        for apparatus in terms.apparatuses:
            if apparatus.host and apparatus.port:
                errand.address = f"{apparatus.ae_title}@{apparatus.host}:{apparatus.port}"
                return Address(ae_title=apparatus.ae_title, host=apparatus.host, port=apparatus.port)
        raise Impossible("the contract names no apparatus with host and port")

    @staticmethod
    def _count(errand: Errand) -> None:
        errand.delivered, errand.failed = len(errand.arrived), len(errand.refused)


def _ae_title(errand: Errand) -> str:
    """The apparatus's, or the subscriber where none was found."""
    return errand.address.partition("@")[0] or errand.destination


def _lacks_resources(status: int | None) -> bool:
    """Whether a storage SCP may take the image later (PS3.4 B.2.3: A7xx; PS3.7 C: 0213)."""
    return status is not None and (status >> 8 == 0xA7 or status == Code.RESOURCE_LIMITATION)
