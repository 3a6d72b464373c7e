"""Builds the directory from the events of contracts."""

from collections.abc import Sequence
from typing import get_args

import msgspec
from sqlalchemy import Connection, select

from medbus.bus import Record
from medbus.projections import rows
from medbus.projections.directory import tables
from medbus.projections.directory.contract import Contract, evolve
from medbus.projections.instants import microseconds
from medbus.projections.projection import Projection
from medbus.schemas.events import SubscriberEvent
from medbus.schemas.topics import SUBSCRIBERS


class DirectoryProjection(Projection):
    """All contracts with their credentials."""

    name = "directory"
    topics = (SUBSCRIBERS,)
    metadata = tables.metadata

    def apply(self, connection: Connection, records: Sequence[Record]) -> None:
        events = [record.event for record in records if isinstance(record.event, get_args(SubscriberEvent))]
        seen = _seen(connection, events)
        contracts: dict[str, Contract] = load(connection, sorted({event.subscriber for event in events}))
        new: dict[str, None] = {}
        changed: dict[str, Contract] = {}
        for event in events:
            event_id = str(event.meta.event_id)
            if event_id in seen or event_id in new:
                continue
            new[event_id] = None
            contract = evolve(contracts.get(event.subscriber), event)
            contracts[event.subscriber] = changed[event.subscriber] = contract
        _save(connection, changed)
        rows.add(connection, tables.events_seen, [(event_id,) for event_id in new])


def load(connection: Connection, subscribers: Sequence[str]) -> dict[str, Contract]:
    """Contracts of some subscribers."""
    table = tables.contracts
    found = connection.execute(
        select(table.c.subscriber, table.c.document).where(
            rows.among(connection, table.c.subscriber, subscribers)
        )
    )
    return {subscriber: msgspec.json.decode(document, type=Contract) for subscriber, document in found}


def _seen(connection: Connection, events: Sequence[SubscriberEvent]) -> set[str]:
    column = tables.events_seen.c.event_id
    ids = [str(event.meta.event_id) for event in events]
    return set(connection.scalars(select(column).where(rows.among(connection, column, ids))))


def _save(connection: Connection, contracts: dict[str, Contract]) -> None:
    names = list(contracts)
    for table in (tables.contracts, tables.ae_titles, tables.credentials):
        rows.remove(connection, table, "subscriber", names)
    rows.add(connection, tables.contracts, [_contract_row(each) for each in contracts.values()])
    rows.add(
        connection,
        tables.ae_titles,
        [
            (name, title)
            for name, contract in contracts.items()
            for title in sorted({apparatus.ae_title for apparatus in contract.terms.apparatuses})
        ],
    )
    rows.add(
        connection,
        tables.credentials,
        [
            (name, str(each.credential_id), each.kind.value, each.digest, int(each.revoked))
            for name, contract in contracts.items()
            for each in contract.credentials
        ],
    )


def _contract_row(contract: Contract) -> rows.Row:
    return (
        contract.subscriber,
        microseconds(contract.contracted_at),
        None if contract.cancelled_at is None else microseconds(contract.cancelled_at),
        msgspec.json.encode(contract).decode(),
    )
