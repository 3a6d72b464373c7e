"""Looks up contracts."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, select

from medbus.projections.database import Database
from medbus.projections.directory.contract import Contract
from medbus.projections.directory.tables import ae_titles, contracts, credentials
from medbus.schemas.events import Apparatus, CredentialKind, Role, Value

# What is in force comes first, then what was cancelled last.
_BEST = (contracts.c.cancelled_at.is_not(None), contracts.c.cancelled_at.desc(), contracts.c.subscriber)

_BY_SUBSCRIBER = select(contracts.c.document).where(contracts.c.subscriber == bindparam("subscriber"))
_BY_AE_TITLE = (
    select(contracts.c.document)
    .join(ae_titles, ae_titles.c.subscriber == contracts.c.subscriber)
    .where(ae_titles.c.ae_title == bindparam("ae_title"))
    .order_by(*_BEST)
    .limit(1)
)
_BY_CREDENTIAL = (
    select(contracts.c.document)
    .join(credentials, credentials.c.subscriber == contracts.c.subscriber)
    .where(credentials.c.kind == bindparam("kind"), credentials.c.digest == bindparam("digest"))
    .order_by(credentials.c.revoked, *_BEST)
    .limit(1)
)
_ALL = select(contracts.c.document).order_by(contracts.c.subscriber)

_decoder = msgspec.json.Decoder(Contract)


class ContractFilter(Value):
    """Which contracts: None leaves that side open."""

    live: bool | None = None
    role: Role | None = None


class DirectoryReader:
    """Contracts as the catalog has them.

    Args:
        database: an open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def contract(self, subscriber: str) -> Contract | None:
        """The contract of a subscriber, in whatever state."""
        return await self._one(_BY_SUBSCRIBER, subscriber=subscriber)

    async def contracts(self, chosen: ContractFilter | None = None) -> list[Contract]:
        """All contracts, or those that a filter lets pass, by subscriber."""
        chosen = chosen or ContractFilter()
        return [
            contract
            for contract in await self._all(_ALL)
            if (chosen.live is None or contract.live is chosen.live)
            and (chosen.role is None or chosen.role in contract.terms.roles)
        ]

    async def by_ae_title(self, ae_title: str) -> Contract | None:
        """The contract that has this AE title: the one in force, else the one cancelled last."""
        return await self._one(_BY_AE_TITLE, ae_title=ae_title)

    async def by_credential(self, kind: CredentialKind, digest: str) -> Contract | None:
        """The contract that has a credential with this digest, in whatever state both are.

        Of several, one where it is not revoked comes first, then one that is in force.
        """
        return await self._one(_BY_CREDENTIAL, kind=kind.value, digest=digest)

    async def destination(self, ae_title: str) -> tuple[Contract, Apparatus] | None:
        """Where images for an AE title go: an apparatus with host and port, of a contract in force."""
        contract = await self.by_ae_title(ae_title)
        if contract is None or not contract.live:
            return None
        for apparatus in contract.terms.apparatuses:
            if apparatus.ae_title == ae_title and apparatus.host and apparatus.port:
                return contract, apparatus
        return None

    async def _one(self, statement: Select[Any], **parameters: str) -> Contract | None:
        found = await self._all(statement, **parameters)
        return found[0] if found else None

    async def _all(self, statement: Select[Any], **parameters: str) -> Sequence[Contract]:
        def work(connection: Connection) -> list[Contract]:
            return [_decoder.decode(each) for each in connection.scalars(statement, parameters)]

        return await self._database.read(work)
