"""GET /account: what a subscriber has and owes, and every request of its, granted or not, with the reason.

Who asks is known by the bearer token. Auditors and managers name somebody else with `?subscriber=`. Each look
is a request that is decided; a grant is good for some seconds of further looks at the same account.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from medbus.gateways.http import body, shown
from medbus.gateways.http.answer import answer, moment
from medbus.gateways.http.bearer import evidence
from medbus.gateways.http.errors import Problem
from medbus.gateways.http.paging import among, shown_page
from medbus.gateways.http.permissions import Permissions
from medbus.projections.accounts import AccountReader, StoredFee, StoredInvoice, StoredPayment
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.images import ImageReader
from medbus.projections.requests import LoggedRequest, RequestReader

LONGEST_NAME = 64
"""Characters of a subscriber's id."""


class Accounts:
    """The endpoints.

    Args:
        database: the catalogs.
        permissions: asks whether somebody may look.
    """

    def __init__(self, database: Database, permissions: Permissions) -> None:
        self._permissions = permissions
        self._accounts = AccountReader(database)
        self._requests = RequestReader(database)
        self._directory = DirectoryReader(database)
        self._images = ImageReader(database)

    def routes(self) -> list[Route]:
        """Their routes."""
        return [
            Route("/account", self._granted(self.account)),
            Route("/account/fees", self._granted(self.fees)),
            Route("/account/invoices", self._granted(self.invoices)),
            Route("/account/invoices/{number:path}", self._granted(self.invoice)),
            Route("/account/payments", self._granted(self.payments)),
            Route("/account/requests", self._granted(self.requests)),
        ]

    async def account(self, _: Request, subscriber: str) -> Mapping[str, Any]:
        """Balances, capacity, and the contract."""
        contract = await self._directory.contract(subscriber)
        if contract is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"There is no subscriber {subscriber!r}.")
        account = await self._accounts.account(subscriber)
        usage = await self._images.usage(subscriber)
        return {
            "contract": shown.contract(contract),
            "capacity": shown.capacity(contract, usage),
            "balances": [shown.balance(each) for each in account.balances],
            "paid_at": moment(account.paid_at),
        }

    async def fees(self, request: Request, subscriber: str) -> Mapping[str, Any]:
        """Fees, those charged last first."""

        async def fetch(since: datetime | None, until: datetime | None, limit: int | None) -> list[StoredFee]:
            return await self._accounts.fees(subscriber, since=since, until=until, limit=limit)

        return await shown_page(request, "fees", fetch, lambda each: each.charged_at, shown.fee)

    async def invoices(self, request: Request, subscriber: str) -> Mapping[str, Any]:
        """Invoices without their lines, those issued last first."""

        def time(each: StoredInvoice) -> datetime:
            return each.issued_at

        found = await self._accounts.invoices(subscriber, limit=None)
        return await shown_page(request, "invoices", among(found, time), time, shown.invoice)

    async def invoice(self, request: Request, subscriber: str) -> Mapping[str, Any]:
        """An invoice with its lines. That of somebody else is not there."""
        number = request.path_params["number"]
        found = await self._accounts.invoice(number) if number.isprintable() else None
        if found is None or found.invoice.subscriber != subscriber:
            raise Problem(HTTPStatus.NOT_FOUND, f"{subscriber} has no invoice {number!r}.")
        return {**shown.invoice(found), "lines": [shown.line(each) for each in found.invoice.lines]}

    async def payments(self, request: Request, subscriber: str) -> Mapping[str, Any]:
        """Payments, those made last first."""

        def time(each: StoredPayment) -> datetime:
            return each.payment.paid_at

        found = await self._accounts.payments(subscriber, limit=None)
        return await shown_page(request, "payments", among(found, time), time, shown.payment)

    async def requests(self, request: Request, subscriber: str) -> Mapping[str, Any]:
        """Requests of every kind, with what was decided and why, those made last first."""

        async def fetch(
            since: datetime | None, until: datetime | None, limit: int | None
        ) -> list[LoggedRequest]:
            return await self._requests.requests(subscriber=subscriber, since=since, until=until, limit=limit)

        return await shown_page(request, "requests", fetch, lambda each: each.asked_at, shown.request)

    def _granted(
        self, look: Callable[[Request, str], Awaitable[Mapping[str, Any]]]
    ) -> Callable[[Request], Awaitable[Response]]:
        return partial(self._answer, look)

    async def _answer(
        self, look: Callable[[Request, str], Awaitable[Mapping[str, Any]]], request: Request
    ) -> Response:
        account = request.query_params.get("subscriber")
        if account is not None:
            body.text("subscriber", account, LONGEST_NAME)
        subscriber = await self._permissions.account(evidence(request), account)
        return answer({"subscriber": subscriber, **await look(request, subscriber)})
