"""Whether a destination may still be given results, and where it is."""

from medbus.gateways.grants import CANCELLED
from medbus.gateways.results.errand import Errand, Impossible
from medbus.gateways.results.following import Following
from medbus.projections.directory import DirectoryReader
from medbus.schemas.events import Terms


class Contracts:
    """The contracts of destinations as they are now.

    Args:
        directory: the contracts that the catalog shows.
        following: what ended since.
    """

    def __init__(self, directory: DirectoryReader, following: Following) -> None:
        self._directory = directory
        self._following = following

    async def terms(self, errand: Errand) -> Terms:
        """The terms of the destination.

        Raises:
            Impossible: its contract, or that of who asked, was cancelled.
        """
        requester = errand.grant.subscriber
        if requester != errand.destination and not await self.live(requester):
            raise Impossible(_cancelled(errand, requester))
        contract = await self._directory.contract(errand.destination)
        if contract is None or not contract.live:
            raise Impossible(_cancelled(errand, errand.destination))
        self.check(errand)
        return contract.terms

    async def live(self, subscriber: str) -> bool:
        """Whether a subscriber has a contract in force."""
        contract = await self._directory.contract(subscriber)
        return contract is not None and contract.live and not self._following.cancelled(subscriber)

    def check(self, errand: Errand) -> None:
        """Go on only if neither contract was cancelled since.

        Raises:
            Impossible: one was.
        """
        for subscriber in (errand.grant.subscriber, errand.destination):
            if self._following.cancelled(subscriber):
                raise Impossible(_cancelled(errand, subscriber))


def _cancelled(errand: Errand, subscriber: str) -> str:
    return CANCELLED if subscriber == errand.destination else f"{CANCELLED} of {subscriber}, who asked"
