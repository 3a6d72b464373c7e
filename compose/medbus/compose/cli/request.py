"""`medbus request`: who asked for what, what was decided, and what followed from it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer
from rich.text import Text

from medbus.bus import Bus
from medbus.compose.cli import causes, console
from medbus.compose.cli.causes import Tree
from medbus.compose.cli.options import (
    HomeOption,
    JsonOption,
    KafkaOption,
    LimitOption,
    bootstrap,
    installation,
    instant,
)
from medbus.compose.settings import Settings
from medbus.projections.chain import chain
from medbus.projections.database import Database
from medbus.projections.requests import LoggedRequest, Outcome, RequestReader
from medbus.schemas import money
from medbus.schemas.errors import MedbusError, SettingsError
from medbus.schemas.topics import REQUESTS

app = typer.Typer(help="Requests: who asked for what, and what came of it.", no_args_is_help=True)

KINDS = {each.__name__.removesuffix("Requested").lower(): each.__name__ for each in REQUESTS.events}


@app.command("list")
def list_(
    subscriber: Annotated[
        str | None, typer.Option(help="Only of this subscriber, as far as a decision says who it was.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind: " + ", ".join(KINDS) + ".")] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Only those that were refused.")] = False,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Only made then or later, UTC.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only made before, UTC.")] = None,
    limit: LimitOption = 1000,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show requests with the decision on each, those made last first.

    Examples:
        medbus request list --subscriber A-hospital --rejected
        medbus request list --kind delivery --from 2026-11-24 --json
    """
    found = console.run(
        _requests(
            installation(home, kafka),
            subscriber,
            None if kind is None else named(kind),
            Outcome.REJECTED if rejected else None,
            None if since is None else instant(since),
            None if until is None else instant(until),
            limit,
        )
    )
    if json:
        for each in found:
            console.as_json(document(each))
        return
    console.table(
        f"Requests ({len(found)})",
        ("made (UTC)", "kind", "by", "subscriber", "decision", "id"),
        [
            (
                console.moment(each.asked_at),
                each.kind.removesuffix("Requested").lower(),
                f"{each.calling_ae_title or ''} {each.address}".strip(),
                each.subscriber,
                decision(each),
                each.request_id,
            )
            for each in found
        ],
    )


@app.command()
def show(
    request: Annotated[UUID, typer.Argument(metavar="ID", help="Its id, see `medbus request list`.")],
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show all that followed from a request, read from the log: decision, images, deliveries, fees.

    Each event stands below its cause, with its place in the log and its id. Of more than 20 events of a kind
    with the same cause the others are counted; --json has all of them.

    Example:
        medbus request show 0d3c9b3e-8f0a-4e51-9a7e-0f7d5a1c2b11
    """
    tree = console.run(_tree(installation(home, kafka), request))
    if json:
        for depth, step in tree.all():
            partition, offset = step.position
            console.as_json(
                {
                    "depth": depth,
                    "type": step.kind.partition(" ")[0],
                    "event_id": step.event_id,
                    "cause_id": step.cause_id,
                    "topic": partition.topic,
                    "partition": partition.number,
                    "offset": offset,
                    "timestamp": step.at,
                    "says": step.says,
                    "amount": None if step.amount is None else money.number_of(step.amount),
                    "currency": None if step.amount is None else step.amount.currency,
                }
            )
        return
    for line in tree.shown():
        console.out.print(_line(line), soft_wrap=True)
    if others := tree.others():
        console.err.print(
            f"{console.counted(others, 'other event')} of this conversation did not follow from it."
        )


def named(text: str) -> str:
    """The class of requests of this kind, however written: delivery, DeliveryRequested.

    Raises:
        SettingsError: there is none.
    """
    plain = text.strip().lower().replace("-", "").replace("_", "").removesuffix("requested")
    if plain not in KINDS:
        raise SettingsError(f"There is no kind of request {text!r}.", f"Choose among {', '.join(KINDS)}.")
    return KINDS[plain]


def decision(request: LoggedRequest) -> str:
    """What was decided, for people."""
    if request.outcome is Outcome.REJECTED:
        reason = "" if request.reason is None else request.reason.value.lower().replace("_", " ")
        said = request.detail.lower().startswith(reason)
        return f"rejected: {request.detail}" if said else f"rejected, {reason}: {request.detail}".rstrip(": ")
    return request.outcome.value.lower()


def document(request: LoggedRequest) -> dict[str, object]:
    """A request for programs."""
    partition, offset = request.position
    decided = request.decision_position
    return {
        "request_id": request.request_id,
        "kind": request.kind,
        "conversation": request.conversation,
        "asked_at": request.asked_at,
        "calling_ae_title": request.calling_ae_title,
        "address": request.address,
        "topic": partition.topic,
        "partition": partition.number,
        "offset": offset,
        "subscriber": request.subscriber,
        "outcome": request.outcome,
        "reason": request.reason,
        "detail": request.detail,
        "decided_at": request.decided_at,
        "decision": None if decided is None else str(decided),
        "expires_at": request.expires_at,
        "max_bytes": request.max_bytes,
        "used_bytes": request.used_bytes,
    }


def _line(line: causes.Shown) -> Text:
    text = Text("  " * line.depth)
    if line.step is None:
        costs = "".join(f", {money.text_of(each)}" for each in line.amounts)
        return text.append(f"{line.count} more {line.kind}{costs}", style="italic")
    step = line.step
    text.append(step.kind, style="bold")
    text.append(f" {step.says}".rstrip())
    text.append(f"  {console.moment(step.at)} {step.position} {step.event_id}", style="dim")
    return text


async def _requests(
    settings: Settings,
    subscriber: str | None,
    kind: str | None,
    outcome: Outcome | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> list[LoggedRequest]:
    async with Database(settings.database_url) as database:
        return await RequestReader(database).requests(
            subscriber=subscriber, kind=kind, outcome=outcome, since=since, until=until, limit=limit
        )


async def _tree(settings: Settings, request_id: UUID) -> Tree:
    async with Database(settings.database_url) as database:
        reader = RequestReader(database)
        found = await reader.request(request_id)
        if found is None:
            raise MedbusError(f"There is no request {request_id}.", "See `medbus request list`.")
        # From the beginning of the conversation on, which has the id of its first request: of two records
        # of the same fee the first counts, and that may stand before this request.
        first = await reader.request(found.conversation) or found
    async with Bus(bootstrap(settings), client_id="medbus-request", prefix=settings.prefix) as bus:
        records = chain(bus, found.conversation, since=first.asked_at)
        return Tree(request_id, [causes.step(record) async for record in records])
