"""A request with all that followed from it, as a tree. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from uuid import UUID

from medbus.bus import Position, Record
from medbus.compose.cli import console
from medbus.schemas import money
from medbus.schemas.events import (
    CancellationRequested,
    DeliveryFailed,
    Event,
    FeeCharged,
    ImageConflicted,
    ImageDelivered,
    ImageErased,
    ImageProcessed,
    ImageRegistered,
    Instant,
    ItemPlanned,
    ItemProcessed,
    ItemSkipped,
    Keep,
    Money,
    ProcessingCancelled,
    ProcessingCompleted,
    ProcessingEvent,
    ProcessingFailed,
    ProcessingRequested,
    ProcessingStarted,
    Request,
    RequestAuthorized,
    RequestRejected,
    ResultRequested,
    ResultsAnswered,
    ResultsKept,
    ServerStarted,
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
    """What there is to say of an event, in one short line."""
    match event:
        case Request():
            text = _of_request(event)
        case ProcessingEvent() | ServerStarted():
            text = _of_processing(event)
        case ImageDelivered() | DeliveryFailed() | ResultsAnswered():
            text = _of_delivery(event)
        case _:
            text = _of_another(event)
    return " ".join(text.split())


def _of_request(request: Request) -> str:
    who = f"by {request.evidence.calling_ae_title or 'somebody'} at {request.evidence.address}"
    match request:
        case ProcessingRequested():
            to = f" to {', '.join(request.destinations)}" if request.destinations else ""
            kept = "" if request.keep is Keep.NEITHER else f", kept: {request.keep.lower()}"
            return f"{who}: {request.processing_type}, answered by {request.answer}{to}{kept}"
        case ResultRequested() | CancellationRequested():
            return f"{who}: of {request.processing_id}"
        case _:
            return who


def _of_processing(event: ProcessingEvent | ServerStarted) -> str:  # noqa: PLR0911  one return for each
    match event:
        case ProcessingStarted():
            items = console.counted(event.items, "item")
            return f"{event.processing_type} of {console.counted(event.images, 'image')} in {items}"
        case ItemPlanned():
            server = "" if event.server is None else f" for {event.server}"
            images = console.counted(len(event.images) + len(event.masks), "image")
            return f"item {event.item}: {event.processing_type} of {images}{server}"
        case ImageProcessed():
            return f"item {event.item}, result {event.number}: {event.sop_instance_uid}, {event.description}"
        case ItemProcessed():
            done = (
                "was there already"
                if event.server is None
                else f"by {event.server} in {event.milliseconds} ms: {console.counted(event.images, 'image')}"
            )
            findings = "".join(f"; {each}" for each in event.findings)
            return f"item {event.item} {done}, {console.counted(event.results, 'result')}{findings}"
        case ItemSkipped():
            return f"item {event.item} was not begun"
        case ProcessingFailed():
            what = "all" if event.item is None else f"item {event.item}"
            return f"{what}{'' if event.server is None else f' by {event.server}'}: {event.reason}"
        case ProcessingCancelled():
            return f"by {event.by}"
        case ProcessingCompleted():
            return _of_completion(event)
        case ResultsKept():
            refused = "".join(f"; not {each}" for each in event.refused)
            return f"{console.counted(event.registered, 'image')} registered{refused}"
        case ServerStarted():
            return f"{event.server} with {console.counted(event.cores, 'core')}"
        case _:
            return f"of {event.subscriber}"


def _of_completion(event: ProcessingCompleted) -> str:
    images = console.counted(event.images, "image")
    text = f"{event.processing_type}: {images}, {event.bytes} bytes"
    text += f", {event.milliseconds} ms in {console.counted(event.sessions, 'session')}"
    text += f", {console.counted(event.results, 'result')}"
    text += f", {console.counted(event.failed, 'item')} failed" if event.failed else ""
    return text + (f", {console.counted(event.skipped, 'item')} not begun" if event.skipped else "")


def _of_delivery(event: ImageDelivered | DeliveryFailed | ResultsAnswered) -> str:
    match event:
        case ImageDelivered():
            return f"{event.sop_instance_uid} to {event.destination}, {event.size} bytes"
        case DeliveryFailed():
            return f"{event.sop_instance_uid} to {event.destination}: {event.reason}"
        case ResultsAnswered():
            tried = console.counted(event.attempts, "attempt")
            text = f"to {event.destination} by {event.answer} at {event.address} in {tried}: "
            text += f"{event.delivered} delivered, {event.failed} failed"
            return f"{text}: {event.reason}" if event.reason else text


def _of_another(event: Event) -> str:
    text = ""
    match event:
        case RequestAuthorized():
            who = f"{event.subscriber}, {event.apparatus_id}" if event.apparatus_id else event.subscriber
            left = "" if event.max_bytes is None else f", {event.max_bytes} bytes left"
            text = f"granted to {who} until {event.expires_at:%Y-%m-%d %H:%M:%S}{left}"
        case RequestRejected():
            text = f"{event.reason.value} {event.detail}"
        case ImageRegistered():
            text = event.instance.sop_instance_uid
        case ImageConflicted() | ImageErased():
            text = event.sop_instance_uid
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
