"""The life of a contract: made, activated, changed, cancelled; credentials issued and revoked.

`decide` and `evolve` are pure. Every command leads to at most one event, whose id derives from the command's:
a command that is given again finds its event in the state and leads to nothing.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import product
from uuid import UUID

from medbus.projections.directory import contract as directory
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import (
    ContractCancelled,
    ContractChanged,
    CredentialIssued,
    CredentialKind,
    CredentialRevoked,
    SubscriberActivated,
    SubscriberContracted,
    SubscriberEvent,
    TariffSet,
    Terms,
    Value,
)
from medbus.streams.contracts.commands import (
    Activate,
    Cancel,
    Change,
    Command,
    Contract,
    IssueCredential,
    RevokeCredential,
)
from medbus.streams.contracts.terms import InvalidTerms, checked, folders, subscriber_id, within

_DIGEST = re.compile(r"[0-9a-f]{64}")


class NoSuchContract(MedbusError):
    """The subscriber has no contract, or none that is live."""


class ContractExists(MedbusError):
    """The subscriber has a contract already."""


class AlreadyTaken(MedbusError):
    """An AE title, a credential or a folder belongs to another contract."""


class InvalidCredential(MedbusError):
    """A credential can't be issued or revoked like this."""


class State(Value):
    """All contracts, the ids of the events that made them, and the names of the price lists."""

    contracts: Mapping[str, directory.Contract] = {}
    event_ids: frozenset[UUID] = frozenset()
    tariffs: frozenset[str] = frozenset()


def evolve(state: State, event: SubscriberEvent) -> State:
    """The contracts after an event."""
    return fold(state, (event,))


def fold(state: State, events: Iterable[SubscriberEvent | TariffSet]) -> State:
    """The contracts after several events. An event that comes a second time changes nothing."""
    contracts = dict(state.contracts)
    event_ids = set(state.event_ids)
    tariffs = set(state.tariffs)
    for event in events:
        if isinstance(event, TariffSet):
            tariffs.add(event.tariff)
        elif event.meta.event_id not in event_ids:
            event_ids.add(event.meta.event_id)
            contracts[event.subscriber] = directory.evolve(contracts.get(event.subscriber), event)
    return State(contracts=contracts, event_ids=frozenset(event_ids), tariffs=frozenset(tariffs))


def decide(state: State, command: Command) -> tuple[SubscriberEvent, ...]:
    """What happens on a command: one event, or none where it has happened already.

    Raises:
        MedbusError: the command can't be carried out; nothing happens. Which of them: see the classes here
            and InvalidTerms.
    """
    if command.event_id in state.event_ids:
        return ()
    if isinstance(command, Contract):
        return _contract(state, command)
    return _go_on(state, _live(state, command.subscriber), command)


def _go_on(
    state: State,
    contract: directory.Contract,
    command: Activate | Change | Cancel | IssueCredential | RevokeCredential,
) -> tuple[SubscriberEvent, ...]:
    match command:
        case Activate():
            return _activate(contract, command)
        case Change():
            return _change(state, contract, command)
        case Cancel():
            return _cancel(command)
        case IssueCredential():
            return _issue(state, contract, command)
        case RevokeCredential():
            return _revoke(contract, command)


def _contract(state: State, command: Contract) -> tuple[SubscriberEvent, ...]:
    subscriber = subscriber_id(command.subscriber)
    existing = state.contracts.get(subscriber)
    if existing is not None and existing.live:
        raise ContractExists(
            f"{subscriber} has a contract since {existing.contracted_at:%Y-%m-%d}.",
            "Change it, or cancel it first.",
        )
    terms = checked(command.terms)
    _not_taken(state, subscriber, terms)
    _payable(state, terms)
    return (SubscriberContracted(meta=command.meta(), subscriber=subscriber, terms=terms),)


def _activate(contract: directory.Contract, command: Activate) -> tuple[SubscriberEvent, ...]:
    if contract.activated_at is not None:
        return ()
    return (SubscriberActivated(meta=command.meta(), subscriber=command.subscriber, program=command.program),)


def _change(state: State, contract: directory.Contract, command: Change) -> tuple[SubscriberEvent, ...]:
    terms = checked(command.terms)
    if terms == contract.terms:
        return ()
    _not_taken(state, command.subscriber, terms)
    _payable(state, terms)
    return (ContractChanged(meta=command.meta(), subscriber=command.subscriber, terms=terms),)


def _cancel(command: Cancel) -> tuple[SubscriberEvent, ...]:
    return (ContractCancelled(meta=command.meta(), subscriber=command.subscriber, reason=command.reason),)


def _issue(
    state: State, contract: directory.Contract, command: IssueCredential
) -> tuple[SubscriberEvent, ...]:
    if command.kind is CredentialKind.UNSPECIFIED:
        raise InvalidCredential(
            "A credential needs a kind.", "Kinds are BEARER_TOKEN and CLIENT_CERTIFICATE."
        )
    if not _DIGEST.fullmatch(command.digest):
        raise InvalidCredential(
            f"{command.digest[:80]!r} is no SHA-256 in lower-case hexadecimal.",
            "Give the digest of the token, or of the certificate in DER, never the secret itself.",
        )
    if command.expires_at is not None and command.expires_at <= command.at:
        raise InvalidCredential(
            f"The credential would have expired at {command.expires_at:%Y-%m-%d %H:%M} already.",
            "Give a later time, or none.",
        )
    if any(each.credential_id == command.credential_id for each in contract.credentials):
        raise InvalidCredential(
            f"{command.subscriber} has a credential {command.credential_id} already.", "Take a new id."
        )
    for other in state.contracts.values():
        for each in other.credentials if other.live else ():
            if (each.kind, each.digest) == (command.kind, command.digest) and not each.revoked:
                raise AlreadyTaken(
                    f"This {command.kind} is in use by {other.subscriber} ({each.credential_id}).",
                    "Revoke it there first, or issue another one.",
                )
    return (
        CredentialIssued(
            meta=command.meta(),
            subscriber=command.subscriber,
            credential_id=command.credential_id,
            kind=command.kind,
            digest=command.digest,
            label=command.label,
            expires_at=command.expires_at,
        ),
    )


def _revoke(contract: directory.Contract, command: RevokeCredential) -> tuple[SubscriberEvent, ...]:
    for each in contract.credentials:
        if each.credential_id == command.credential_id:
            if each.revoked:
                return ()
            return (
                CredentialRevoked(
                    meta=command.meta(),
                    subscriber=command.subscriber,
                    credential_id=command.credential_id,
                    reason=command.reason,
                ),
            )
    raise InvalidCredential(
        f"{command.subscriber} has no credential {command.credential_id}.",
        f"See `medbus subscriber show {command.subscriber}`.",
    )


def _live(state: State, subscriber: str) -> directory.Contract:
    contract = state.contracts.get(subscriber)
    if contract is None:
        raise NoSuchContract(
            f"{subscriber!r} has no contract.", f"Make one with `medbus subscriber add {subscriber}`."
        )
    if not contract.live:
        raise NoSuchContract(
            f"The contract of {subscriber} was cancelled at {contract.cancelled_at:%Y-%m-%d %H:%M}.",
            "A cancelled contract can't be changed: make a new one under the same id.",
        )
    return contract


def _not_taken(state: State, subscriber: str, terms: Terms) -> None:
    wanted = {apparatus.ae_title for apparatus in terms.apparatuses}
    for other in state.contracts.values():
        if other.subscriber == subscriber or not other.live:
            continue
        for apparatus in other.terms.apparatuses:
            if apparatus.ae_title in wanted:
                raise AlreadyTaken(
                    f"The AE title {apparatus.ae_title} belongs to {other.subscriber} "
                    f"({apparatus.apparatus_id}).",
                    "AE titles are unique among all subscribers: take another one.",
                )
        for folder, wanted_folder in product(folders(other.terms.collections), folders(terms.collections)):
            if within(folder, wanted_folder):
                raise AlreadyTaken(
                    f"The images in {folder} are collected for {other.subscriber} already.",
                    "Give each subscriber a folder of its own.",
                )


def _payable(state: State, terms: Terms) -> None:
    if terms.tariff is not None and terms.tariff not in state.tariffs:
        known = ", ".join(sorted(state.tariffs)[:8]) or "none"
        raise InvalidTerms(
            f"There is no price list {terms.tariff[:64]!r}.",
            f"Price lists: {known}. Make one with `medbus tariff set`.",
        )
    if terms.payment is not None and terms.tariff is None:
        raise InvalidTerms(
            "Payment can't be a condition where nothing is charged.", "Name a price list, or no condition."
        )
