"""POST /payments: whoever takes payments for the service reports them here, signed (see `signature`).

A report is `{"reference", "subscriber", "amount", "currency", "paid_at", "note"}`. The reference is the
identity of the payment: a report that comes again is known, and one that says something else under it is
refused. Reported to several processes at the same moment it is one event all the same: the first on
the log counts.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from medbus.bus import Bus
from medbus.gateways.grants import Clock
from medbus.gateways.http import body, signature
from medbus.gateways.http.answer import answer
from medbus.gateways.http.errors import Problem, unavailable
from medbus.projections.accounts import AccountReader
from medbus.projections.directory import DirectoryReader
from medbus.projections.errors import CatalogMissing
from medbus.schemas import money
from medbus.schemas.errors import BusError
from medbus.schemas.events import Instant, Meta, Money, PaymentReceived
from medbus.schemas.payment import MAX_NOTE, MAX_REFERENCE, WEBHOOK, payment_id

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""How many payments are remembered for the time until the catalog shows them."""

_LONGEST = {"reference": MAX_REFERENCE, "subscriber": 64, "note": MAX_NOTE}


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A payment as it is reported. The amount is a text: a number in JSON may be a binary fraction."""

    reference: str
    subscriber: str
    amount: str
    currency: str
    paid_at: Instant
    note: str = ""


class Contents(msgspec.Struct, frozen=True):
    """What makes two reports of one reference the same."""

    subscriber: str
    amount: Money
    paid_at: datetime
    note: str

    @classmethod
    def of(cls, payment: PaymentReceived) -> "Contents":
        return cls(payment.subscriber, payment.amount, payment.paid_at, payment.note)


class Remembered:
    """A payment that this process put, or tried to put, on the log."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.contents: Contents | None = None
        self.acknowledged = False


class Payments:
    """The endpoint.

    Args:
        bus: the log.
        accounts: payments that are known.
        directory: subscribers that are known.
        clock: the time.
        source: names this gateway in events.
        secrets: any of them signs reports; without one there is no endpoint.
        publish_timeout: seconds to wait for the log.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        accounts: AccountReader,
        directory: DirectoryReader,
        clock: Clock,
        source: str,
        secrets: Sequence[str],
        publish_timeout: float,
    ) -> None:
        self._bus = bus
        self._accounts = accounts
        self._directory = directory
        self._clock = clock
        self._source = source
        self._secrets = secrets
        self._publish_timeout = publish_timeout
        self._remembered: OrderedDict[UUID, Remembered] = OrderedDict()

    def routes(self) -> list[Route]:
        """Its route."""
        return [Route("/payments", self.receive, methods=["POST"])]

    async def receive(self, request: Request) -> Response:
        """Answers 200 with `recorded` or `known` as status.

        Raises:
            Problem: 401 the signature, 404 no secret is set or nobody has this id, 409 the reference is known
                with other contents, 422 what it says can't be, 503 the log or the catalog do not answer: send
                it again.
        """
        if not self._secrets:
            log.warning("a payment was reported, but no secret for it is set: see the payment secrets")
            raise Problem(HTTPStatus.NOT_FOUND, "Payments are not taken here.")
        data = await body.read(request)
        self._verify(request, data)
        payment = self._payment(body.decode(data, Report))
        if await self._directory.contract(payment.subscriber) is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"There is no subscriber {payment.subscriber!r}.")
        status = await self._record(payment)
        return answer({"payment_id": payment.meta.event_id, "status": status})

    def _verify(self, request: Request, data: bytes) -> None:
        # Two headers of this name are one with a comma between, which has two times then.
        header = ",".join(request.headers.getlist(signature.HEADER))
        try:
            signature.verify(header, data, self._secrets, self._clock())
        except signature.BadSignature as error:
            log.info("a payment was reported that is not signed: %s", error.message)
            challenge = {"WWW-Authenticate": signature.HEADER}
            raise Problem(HTTPStatus.UNAUTHORIZED, str(error), headers=challenge) from error

    def _payment(self, report: Report) -> PaymentReceived:
        for name, longest in _LONGEST.items():
            if name != "note" or report.note:
                body.text(name, getattr(report, name), longest)
        try:
            amount = money.amount(report.amount, report.currency)
            paid_at = report.paid_at.astimezone(UTC)
        except money.InvalidMoney as error:
            raise _impossible(str(error)) from error
        except OverflowError as error:
            raise _impossible("paid_at is beyond all measure.") from error
        if amount.minor_units == 0:
            raise _impossible("The amount is nothing.")
        return PaymentReceived(
            meta=Meta.first(
                payment_id(WEBHOOK, report.reference),
                source=self._source,
                occurred_at=self._clock(),
                actor=report.subscriber,
            ),
            subscriber=report.subscriber,
            reference=report.reference,
            amount=amount,
            channel=WEBHOOK,
            paid_at=paid_at,
            note=report.note,
        )

    async def _record(self, payment: PaymentReceived) -> str:
        """Put a payment on the log, unless it is there."""
        contents = Contents.of(payment)
        remembered = self._of(payment.meta.event_id)
        async with remembered.turn:
            known = remembered.contents
            if not remembered.acknowledged:
                stored = await self._stored(payment.meta.event_id)
                if stored is not None:
                    known, remembered.acknowledged = stored, True
            if known is not None and known != contents:
                raise Problem(
                    HTTPStatus.CONFLICT,
                    f"The reference {payment.reference!r} was reported with other contents.",
                )
            remembered.contents = contents
            if remembered.acknowledged:
                return "known"
            await self._publish(payment)
            remembered.acknowledged = True
            return "recorded"

    async def _stored(self, event_id: UUID) -> Contents | None:
        with suppress(CatalogMissing):
            found = await self._accounts.payment(event_id)
            return None if found is None else Contents.of(found.payment)
        return None

    async def _publish(self, payment: PaymentReceived) -> None:
        try:
            async with asyncio.timeout(self._publish_timeout):
                await self._bus.publish(payment)
        except (TimeoutError, BusError) as error:
            # The log may have it, or get it yet. Reported again it is the same event.
            log.error("payment %s is not on the log: %s", payment.reference, error)  # noqa: TRY400
            raise unavailable("The event log does not answer. Report it again.") from error

    def _of(self, event_id: UUID) -> Remembered:
        remembered = self._remembered.setdefault(event_id, Remembered())
        self._remembered.move_to_end(event_id)
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return remembered


def _impossible(detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
