"""A request with all that followed from it, as a tree. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from uuid import UUID

from medbus.bus import Position, Record
from medbus.compose.cli import console
from medbus.schemas import money
from medbus.schemas.events import (
    DeliveryFailed,
    Event,
    FeeCharged,
    ImageConflicted,
    ImageDelivered,
    ImageErased,
    ImageRegistered,
    Instant,
    Money,
    ProcessingCompleted,
    Request,
    RequestAuthorized,
    RequestRejected,
    SoftwareRun,
    SubscriberActivated,
    Value,
)

ALIKE = 20
"""More events of one kind with the same cause are counted rather than shown."""


class Step(Value):
    """An event in the tree.

    Attributes:
        kind: the class of the event; of a fee with what it is for.
        says: what there is to say of it, short.
        amount: of a fee.
    """

    event_id: UUID
    cause_id: UUID | None
    kind: str
    says: str
    position: Position
    at: Instant
    amount: Money | None = None


class Shown(Value):
    """A line of the tree: a step, or the number of those that are not shown one by one.

    Attributes:
        depth: how far below the request.
        step: the event; None for a number.
        kind: of the event, or of those that are counted.
        count: how many are counted; 1 for a step.
        amounts: what all of them cost, if they are fees, by currency.
    """

    depth: int
    step: Step | None
    kind: str
    count: int = 1
    amounts: tuple[Money, ...] = ()


class Tree:
    """What followed from a request.

    Args:
        request_id: the request.
        steps: events of its conversation, in any order; one that comes twice counts once.
    """

    def __init__(self, request_id: UUID, steps: Iterable[Step]) -> None:
        ordered = sorted(steps, key=lambda step: (step.at, step.position))
        self.steps: dict[UUID, Step] = {}
        self._followed: dict[UUID | None, list[Step]] = defaultdict(list)
        for step in ordered:
            if step.event_id not in self.steps:
                self.steps[step.event_id] = step
                self._followed[step.cause_id].append(step)
        self.request = self.steps.get(request_id)

    def all(self) -> Iterator[tuple[int, Step]]:
        """Every event with its depth, causes before effects."""
        if self.request is None:
            return
        waiting = [(0, self.request)]
        while waiting:
            depth, step = waiting.pop()
            yield depth, step
            waiting += [(depth + 1, each) for each in reversed(self._followed[step.event_id])]

    def shown(self) -> Iterator[Shown]:
        """The lines to be shown: of events that are alike the first ALIKE one by one, the others counted,
        and with them what followed from them."""
        waiting: list[tuple[int, list[Step], bool]] = []
        if self.request is not None:
            waiting.append((0, [self.request], False))
        while waiting:
            depth, steps, counted = waiting.pop()
            if counted:
                yield _counted(depth, steps)
                waiting += self._below(depth + 1, [e for s in steps for e in self._followed[s.event_id]], 0)
            else:
                (step,) = steps
                yield Shown(depth=depth, step=step, kind=step.kind)
                waiting += self._below(depth + 1, self._followed[step.event_id], ALIKE)

    def others(self) -> int:
        """How many events of the conversation did not follow from the request."""
        return len(self.steps) - sum(1 for _ in self.all())

    def _below(self, depth: int, steps: list[Step], alike: int) -> list[tuple[int, list[Step], bool]]:
        """What stands below, last first: each step, but those beyond `alike` of a kind together."""
        seen: Counter[str] = Counter()
        below: list[tuple[int, list[Step], bool]] = []
        more: dict[str, list[Step]] = {}
        for step in steps:
            seen[step.kind] += 1
            if seen[step.kind] <= alike:
                below.append((depth, [step], False))
            else:
                more.setdefault(step.kind, []).append(step)
        below += [(depth, each, True) for each in more.values()]
        return below[::-1]


def step(record: Record) -> Step:
    """A record of an event, as far as it is shown."""
    event = record.event
    assert isinstance(event, Event)  # noqa: S101 - the chain has no others
    kind = type(event).__name__
    return Step(
        event_id=event.meta.event_id,
        cause_id=event.meta.cause_id,
        kind=f"{kind} {event.kind}" if isinstance(event, FeeCharged) else kind,
        says=says(event),
        position=record.position,
        at=record.timestamp,
        amount=event.amount if isinstance(event, FeeCharged) else None,
    )


def says(event: Event) -> str:
    """What there is to say of an event, short."""
    text = ""
    match event:
        case Request():
            text = f"by {event.evidence.calling_ae_title or 'somebody'} at {event.evidence.address}"
        case RequestAuthorized():
            who = f"{event.subscriber}, {event.apparatus_id}" if event.apparatus_id else event.subscriber
            left = "" if event.max_bytes is None else f", {event.max_bytes} bytes left"
            text = f"granted to {who} until {event.expires_at:%Y-%m-%d %H:%M:%S}{left}"
        case RequestRejected():
            text = f"{event.reason.value} {event.detail}".strip()
        case ImageRegistered():
            text = event.instance.sop_instance_uid
        case ImageConflicted() | ImageErased():
            text = event.sop_instance_uid
        case ImageDelivered():
            text = f"{event.sop_instance_uid} to {event.destination}, {event.size} bytes"
        case DeliveryFailed():
            text = f"{event.sop_instance_uid} to {event.destination}: {event.reason}"
        case ProcessingCompleted():
            text = f"{event.processing_type}: {event.images} images, {event.bytes} bytes"
        case SoftwareRun():
            text = f"{event.software_id} {event.version} on {event.apparatus_id}"
        case SubscriberActivated():
            text = f"{event.subscriber} by {event.program}"
        case FeeCharged():
            cost = f"{money.text_of(event.amount)} for {console.counted(event.quantity, event.unit)}"
            of = f" of {event.item}" if event.item else ""
            text = f"{cost}{of}, {event.tariff} version {event.version}"
    return text


def _counted(depth: int, steps: list[Step]) -> Shown:
    sums: Counter[str] = Counter()
    for each in steps:
        if each.amount is not None:
            sums[each.amount.currency] += each.amount.minor_units
    return Shown(
        depth=depth,
        step=None,
        kind=steps[0].kind,
        count=len(steps),
        amounts=tuple(Money(minor_units=sums[each], currency=each) for each in sorted(sums)),
    )
