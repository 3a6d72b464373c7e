"""Which fees belong to a closed period. Pure: nothing is marked, it follows from times and offsets.

A fee belongs to the first closing of its subscriber, in the order of the log, of which one of these is true:
the fee stands before it and was charged before the period's end; or the fee was caused by it. So a fee that
comes late belongs to the next period that is closed, and none belongs to two or is forgotten.
"""

from collections.abc import Iterable

from medbus.projections.accounts.account import ClosedPeriod
from medbus.projections.instants import microseconds
from medbus.schemas.events import Value


class Closing(Value):
    """What counts of a closed period: the event's id, the period's end in microseconds, and its offset."""

    event_id: str
    end: int
    offset: int

    @classmethod
    def of(cls, closed: ClosedPeriod) -> "Closing":
        """Of a closed period."""
        return cls(event_id=str(closed.event_id), end=microseconds(closed.end), offset=closed.position.offset)


class Membership:
    """Tells the fees of a closed period from all others of its subscriber.

    Args:
        closing: the closed period.
        earlier: those of the same subscriber that stand before it in the log, in any order.
    """

    def __init__(self, closing: Closing, earlier: Iterable[Closing]) -> None:
        self.closing = closing
        before = sorted(earlier, key=lambda each: each.offset)
        self._causes = frozenset(each.event_id for each in before)
        # What an earlier closing takes, a later one with a later end takes as well: nearly always there is
        # only the last one to look at.
        steps: list[Closing] = []
        for each in reversed(before):
            if not steps or each.end > steps[-1].end:
                steps.append(each)
        self._steps = tuple((each.end, each.offset) for each in steps)

    @property
    def since(self) -> tuple[int, int] | None:
        """A time and an offset: each fee of the period has either, or something later; None: has any."""
        return self._steps[-1] if self._steps else None

    def holds(self, charged_at: int, offset: int, cause_id: str | None) -> bool:
        """Whether a fee belongs to the period.

        Args:
            charged_at: microseconds since 1970.
            offset: of its event.
            cause_id: the event that it follows from.
        """
        if cause_id in self._causes or any(charged_at < end and offset < at for end, at in self._steps):
            return False
        closing = self.closing
        return cause_id == closing.event_id or (charged_at < closing.end and offset < closing.offset)
