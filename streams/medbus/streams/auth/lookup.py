"""Looks up in the catalogs what a decision rests on."""

from datetime import timedelta

import msgspec

from medbus.projections.accounts import AccountReader
from medbus.projections.database import Database
from medbus.projections.directory import DirectoryReader
from medbus.projections.directory.contract import Contract
from medbus.projections.images import ImageReader
from medbus.schemas import money
from medbus.schemas.events import (
    CredentialKind,
    DeliveryRequested,
    FeeKind,
    Money,
    PrintRequested,
    ProcessingRequested,
    Request,
    Terms,
)
from medbus.streams.auth.capacity import registers
from medbus.streams.auth.destinations import MOST_RECIPIENTS
from medbus.streams.auth.facts import Destination, Facts
from medbus.streams.auth.identification import pointed_at

GRANT_LIFETIME = timedelta(hours=1)
"""How long a conversation may last before it must ask again."""


class Lookup:
    """Reads facts from the catalogs; only what the request names.

    Args:
        database: an open catalog.
        grant_lifetime: how long a grant is good for.
    """

    def __init__(self, database: Database, grant_lifetime: timedelta = GRANT_LIFETIME) -> None:
        self._directory = DirectoryReader(database)
        self._images = ImageReader(database)
        self._accounts = AccountReader(database)
        self._grant_lifetime = grant_lifetime

    async def facts(self, request: Request) -> Facts:
        """What the catalogs say about what a request names."""
        evidence, directory = request.evidence, self._directory
        facts = Facts(
            token=await self._by_credential(CredentialKind.BEARER_TOKEN, evidence.token),
            certificate=await self._by_credential(CredentialKind.CLIENT_CERTIFICATE, evidence.certificate),
            ae_title=(
                None
                if evidence.calling_ae_title is None
                else await directory.by_ae_title(evidence.calling_ae_title.strip(" "))
            ),
            destination=await self._destination(request),
            device=await directory.contract(request.device) if isinstance(request, PrintRequested) else None,
            grant_lifetime=self._grant_lifetime,
        )
        contract = pointed_at(evidence, facts)
        if contract is None:
            return facts
        terms = contract.terms
        if terms.payment is not None:
            facts = msgspec.structs.replace(
                facts,
                account=await self._accounts.account(contract.subscriber),
                currency=None if terms.tariff is None else await self._accounts.currency(terms.tariff),
                delivery_price=await self._delivery_price(request, terms),
            )
        if isinstance(request, ProcessingRequested):
            facts = msgspec.structs.replace(facts, recipients=await self._recipients(request))
        if registers(request) and terms.capacity_bytes is not None:
            usage = await self._images.usage(contract.subscriber)
            facts = msgspec.structs.replace(facts, used_bytes=usage.bytes)
        return facts

    async def _by_credential(self, kind: CredentialKind, digest: str | None) -> Contract | None:
        return None if digest is None else await self._directory.by_credential(kind, digest)

    async def _delivery_price(self, request: Request, terms: Terms) -> Money | None:
        if not isinstance(request, DeliveryRequested) or terms.tariff is None:
            return None
        versions = [
            each
            for each in await self._accounts.tariffs(terms.tariff)
            if each.valid_from <= request.meta.occurred_at
        ]
        if not versions:
            return None
        good = max(versions, key=lambda each: (each.valid_from, each.version))
        price = next((each.price for each in good.prices if each.kind is FeeKind.DELIVERY), None)
        return None if price is None else money.amount(price, good.currency)

    async def _destination(self, request: Request) -> Destination | None:
        if not isinstance(request, DeliveryRequested) or request.destination is None:
            return None
        found = await self._directory.destination(request.destination.strip(" "))
        return None if found is None else Destination(contract=found[0], apparatus=found[1])

    async def _recipients(self, request: ProcessingRequested) -> dict[str, Contract]:
        """Of no more subscribers than there may be: a request with more is refused anyway."""
        names = dict.fromkeys(request.destinations[:MOST_RECIPIENTS])
        found = {name: await self._directory.contract(name) for name in names}
        return {name: contract for name, contract in found.items() if contract is not None}
