"""`medbus result`: what became of images that were to be processed."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
import typer

from medbus.compose.cli import console, fetching, gateway
from medbus.compose.cli.gateway import CaOption, TokenFileOption, UrlOption
from medbus.compose.cli.job import Job, Jobs, Result
from medbus.compose.cli.options import HomeOption, JsonOption, LimitOption

app = typer.Typer(help="Requests for processing, and their results.", no_args_is_help=True)

IdArgument = Annotated[UUID, typer.Argument(metavar="ID", help="Of the request, see `medbus result list`.")]

PAGE = 1000


@app.command("list")
def list_(
    limit: LimitOption = 1000,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show the requests that you made, or whose results are for you, those made last first.

    Examples:
        medbus result list
        medbus result list --limit 10 --json --url http://gateway:8080 --token-file token
    """
    with gateway.opened(url, token_file, ca, home) as opened:
        jobs = _jobs(opened, limit)
    if json:
        for each in jobs:
            console.as_json(each)
        return
    console.table(
        f"Processing ({len(jobs)})",
        ("asked (UTC)", "type", "from", "to", "state", "items", "failed", "results", "id"),
        [
            (
                *(console.moment(each.requested_at), each.type, each.sender, ", ".join(each.destinations)),
                *(each.state.lower(), f"{each.items_over}/{each.items}", each.failed, each.results, each.id),
            )
            for each in jobs
        ],
    )


@app.command()
def show(
    request: IdArgument,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show how far a request has come: what failed and why, what was noticed, and each result.

    Example:
        medbus result show 0d3c9b3e-8f0a-4e51-9a7e-0f7d5a1c2b11
    """
    with gateway.opened(url, token_file, ca, home) as opened:
        job = fetching.show(opened, request)
        results = list(fetching.results(opened, request))
    if json:
        console.as_json({**msgspec.structs.asdict(job), "results": results})
        return
    tell(job)
    if results:
        _table(results)


@app.command()
def fetch(
    request: IdArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; made if need be.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all is done.")] = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    home: HomeOption = None,
) -> None:
    """Fetch the results of a request as DICOM files: those there are by now, or with --wait all.

    Ends with exit code 1 if something failed.

    Example:
        medbus result fetch 0d3c9b3e-8f0a-4e51-9a7e-0f7d5a1c2b11 --wait --out smoothed/
    """
    with gateway.opened(url, token_file, ca, home) as opened:
        job = fetching.wait(opened, request) if wait else fetching.show(opened, request)
        files = fetching.fetch(opened, request, out)
    tell(job)
    console.out.print(f"{console.counted(len(files), 'file')} in {out}.")
    if not job.well:
        raise SystemExit(console.FAILED)


@app.command()
def cancel(
    request: IdArgument,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """End a request that you made: what has not begun is not done. Results that there are stay.

    Example:
        medbus result cancel 0d3c9b3e-8f0a-4e51-9a7e-0f7d5a1c2b11
    """
    with gateway.opened(url, token_file, ca, home) as opened:
        job = opened.delete(f"/processing/{request}", Job)
    if json:
        console.as_json(job)
    else:
        left = job.items - job.items_over
        console.out.print(
            f"Cancelled; {console.counted(left, 'item')} of {job.items} had not come to an end."
        )


def tell(job: Job) -> None:
    """Print how far a request has come."""
    done = f", {job.done} of {console.counted(job.items, 'item')} done" if job.items else ""
    console.out.print(
        f"{job.type} of {console.counted(job.images, 'image')} for {', '.join(job.destinations)}: "
        f"{job.state.lower()}{done}, {console.counted(job.results, 'result')}."
    )
    for said in (job.reason, job.detail):
        if said:
            console.out.print(said, markup=False)
    if job.failures:
        rows = [(each.item, each.server, each.reason) for each in job.failures]
        console.table(f"Failed ({job.failed})", ("item", "server", "why"), rows)
    if job.findings:
        rows_found = [(each.finding, each.items) for each in job.findings]
        console.table("Noticed", ("what", "items"), rows_found)
    if job.answers:
        console.table(
            "Answered",
            ("destination", "how", "where", "delivered", "failed", "attempts", "why not"),
            [
                (
                    *(each.destination, each.answer.lower().replace("_", "-"), each.address),
                    *(each.delivered, each.failed, each.attempts, each.reason),
                )
                for each in job.answers
            ],
        )


def _table(results: list[Result]) -> None:
    console.table(
        f"Results ({len(results)})",
        ("item", "done", "series", "image", "size"),
        [
            (
                *(each.item, each.description, each.series_instance_uid, each.sop_instance_uid),
                console.bytes_text(each.size),
            )
            for each in results
        ],
    )


def _jobs(opened: gateway.Gateway, limit: int) -> list[Job]:
    found: list[Job] = []
    query: dict[str, str | int] = {}
    while len(found) < limit:
        page = opened.get("/processing", Jobs, limit=min(PAGE, limit - len(found)), **query)
        found += page.processing
        if page.next is None:
            break
        query = {"before": page.next}
    return found[:limit]
