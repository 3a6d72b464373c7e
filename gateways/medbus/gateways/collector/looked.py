"""What came of a look at a source."""

from msgspec.structs import replace

from medbus.gateways.collector.source import Source
from medbus.schemas.events import Retrieval, Value


class Looked(Value):
    """What came of a look.

    Attributes:
        subscriber, apparatus_id, retrieval, address, every_seconds: the source.
        offered: how many images or files of the source were compared with the catalog.
        new: how many of them were not in it.
        registered: how many of these are now.
        refused: how many the service refused, for good or until later.
        failed: how many the source did not give.
        bytes: of what was registered.
        seconds: how long it took.
        more: whether it ended at its limit, so that there is more to fetch.
        problem: why it did not come to its end; empty if it did.
        remark: what else there is to say, of the last image that did not come.
    """

    subscriber: str
    apparatus_id: str
    retrieval: Retrieval
    address: str
    every_seconds: int
    offered: int = 0
    new: int = 0
    registered: int = 0
    refused: int = 0
    failed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    more: bool = False
    problem: str = ""
    remark: str = ""

    @classmethod
    def at(cls, source: Source) -> "Looked":
        """A look that has not begun."""
        collection = source.collection
        return cls(
            subscriber=source.subscriber,
            apparatus_id=collection.apparatus_id,
            retrieval=collection.retrieval,
            address=collection.address,
            every_seconds=collection.every_seconds,
        )

    def and_then(self, later: "Looked") -> "Looked":
        """This look and the one that went on where it ended, taken together."""
        return replace(
            later,
            offered=max(self.offered, later.offered),
            new=self.new + later.new,
            registered=self.registered + later.registered,
            refused=self.refused + later.refused,
            failed=self.failed + later.failed,
            bytes=self.bytes + later.bytes,
            seconds=self.seconds + later.seconds,
            remark=later.remark or self.remark,
        )
