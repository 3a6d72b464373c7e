"""Contracts as the command line shows them."""

from collections.abc import Sequence

from medbus.compose.cli import console, terms
from medbus.projections.directory import Contract
from medbus.projections.images import Usage


def show_contract(contract: Contract, usage: Usage) -> None:
    """Print a contract in full."""
    agreed = contract.terms
    console.table(
        contract.subscriber,
        ("term", "value"),
        [
            ("name", agreed.name),
            ("state", state(contract)),
            ("contracted", console.moment(contract.contracted_at)),
            ("activated", console.moment(contract.activated_at)),
            ("cancelled", console.moment(contract.cancelled_at)),
            ("roles", ", ".join(role.lower() for role in agreed.roles)),
            ("networks", ", ".join(agreed.networks)),
            ("patients", ", ".join(agreed.scope.patients) or "all"),
            ("registrants", ", ".join(agreed.scope.registrants) or "all"),
            ("modalities", ", ".join(agreed.scope.modalities) or "all"),
            ("capacity", capacity_text(agreed.capacity_bytes, usage)),
            ("tariff", agreed.tariff or "none: free of charge"),
            ("payment", "no condition" if agreed.payment is None else agreed.payment.lower()),
            ("webhook", agreed.webhook or "none"),
        ],
    )
    console.table(
        "Apparatuses",
        ("id", "AE title", "modality", "address"),
        [(a.apparatus_id, a.ae_title, a.modality, terms.address(a)) for a in agreed.apparatuses],
    )
    if agreed.collections:
        console.table(
            "Images are collected",
            ("from", "by", "every"),
            [(each.apparatus_id, terms.way(each), terms.every(each)) for each in agreed.collections],
        )
    if contract.credentials:
        console.table(
            "Credentials",
            ("id", "kind", "label", "issued", "expires", "revoked"),
            [
                (
                    each.credential_id,
                    each.kind.lower(),
                    each.label,
                    console.moment(each.issued_at),
                    console.moment(each.expires_at),
                    "yes" if each.revoked else "",
                )
                for each in contract.credentials
            ],
        )


def state(contract: Contract) -> str:
    """How far a contract is in its life."""
    if not contract.live:
        return "cancelled"
    return "active" if contract.activated_at else "contracted"


def capacity_text(allocated: int | None, usage: Usage) -> str:
    """The capacity in use beside the allocated one, and the share of it."""
    used = f"{console.bytes_text(usage.bytes)} in use ({usage.images} images)"
    if allocated is None:
        return f"{used}, no limit"
    share = f", {usage.bytes / allocated:.1%}" if allocated else ""
    return f"{used} of {console.bytes_text(allocated)}{share}"


def show_contracts(contracts: Sequence[Contract], json: bool) -> None:
    """Print contracts, one a line."""
    if json:
        for contract in contracts:
            console.as_json(contract)
        return
    console.table(
        "Subscribers",
        ("subscriber", "name", "state", "roles", "apparatuses", "webhook", "collected", "since (UTC)"),
        [
            (
                contract.subscriber,
                contract.terms.name,
                state(contract),
                ", ".join(role.lower() for role in contract.terms.roles),
                ", ".join(f"{a.apparatus_id} ({a.ae_title})" for a in contract.terms.apparatuses),
                contract.terms.webhook or "",
                "\n".join(map(terms.collected, contract.terms.collections)),
                console.moment(contract.contracted_at),
            )
            for contract in contracts
        ],
    )
