"""Where images are collected: what contracts say about it, and who the sender is."""

import asyncio
import socket
from collections.abc import Iterable
from datetime import datetime
from ipaddress import ip_address, ip_network

from medbus.gateways.collector.errors import SourceFailed
from medbus.projections.directory import Contract
from medbus.schemas.events import Apparatus, Collection, Terms, Value

LOOPBACK = "127.0.0.1"


class Source(Value):
    """One place that a live contract names. Any change of the contract makes another source of it."""

    subscriber: str
    collection: Collection
    terms: Terms
    contracted_at: datetime

    def __str__(self) -> str:
        return f"{self.subscriber} {self.collection.apparatus_id} {self.collection.retrieval.value}"

    @property
    def apparatus(self) -> Apparatus:
        """The apparatus that made the images.

        Raises:
            SourceFailed: the contract has none of this id.
        """
        wanted = self.collection.apparatus_id
        for each in self.terms.apparatuses:
            if each.apparatus_id == wanted:
                return each
        raise SourceFailed(
            f"The contract of {self.subscriber} has no apparatus {wanted!r}.", "Let it name one that it has."
        )

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of an apparatus that is asked by DICOM.

        Raises:
            SourceFailed: it has none.
        """
        apparatus = self.apparatus
        if not apparatus.host or not apparatus.port:
            raise SourceFailed(
                f"The apparatus {apparatus.apparatus_id} of {self.subscriber} has no host and port.",
                "Enter them in the contract: without, it can't be asked.",
            )
        return apparatus.host, apparatus.port


def sources(contracts: Iterable[Contract]) -> list[Source]:
    """All sources of the contracts in force, each once."""
    found = (
        Source(
            subscriber=contract.subscriber,
            collection=collection,
            terms=contract.terms,
            contracted_at=contract.contracted_at,
        )
        for contract in contracts
        if contract.live
        for collection in contract.terms.collections
    )
    return list(dict.fromkeys(found))


async def address_of(host: str, networks: Iterable[str]) -> str:
    """The address of a host: of several, the first that lies in a network of the contract.

    Raises:
        SourceFailed: it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SourceFailed(f"{host} has no address: {error}.", "Correct the host in the contract.") from error
    addresses = [str(each[4][0]) for each in found]
    allowed = [ip_network(each, strict=False) for each in networks if _is_network(each)]
    inside = (each for each in addresses if any(ip_address(each.partition("%")[0]) in n for n in allowed))
    return next(inside, addresses[0])


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
