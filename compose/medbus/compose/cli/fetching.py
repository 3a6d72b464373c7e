"""Waiting for processing requests, and fetching what came out of them."""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from medbus.compose.cli import console
from medbus.compose.cli.gateway import Gateway, Refused, Unreachable
from medbus.compose.cli.job import Job, Result, Results
from medbus.schemas.errors import MedbusError

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds from one look to the next."""

PATIENCE = 60.0
"""Seconds for which the gateway may be away while it is waited for."""


class Incomplete(MedbusError):
    """What came is not what there is."""


def show(gateway: Gateway, job_id: UUID) -> Job:
    """How far a request has come."""
    return gateway.get(f"/processing/{job_id}", Job)


def wait(gateway: Gateway, job_id: UUID) -> Job:
    """Wait until a request is over, under a progress bar. Ctrl-C ends the waiting, not the processing.

    Raises:
        Refused, Unreachable: the gateway refuses, or is away for too long.
    """
    pause, deadline = FIRST_PAUSE, time.monotonic() + PATIENCE
    try:
        with console.progress() as bar:
            task = bar.add_task("processing", total=None, note="asked")
            while True:
                try:
                    job = show(gateway, job_id)
                except (Refused, Unreachable) as error:
                    if (isinstance(error, Refused) and error.status < 500) or time.monotonic() > deadline:
                        raise
                    bar.update(task, note="the gateway does not answer")
                else:
                    deadline = time.monotonic() + PATIENCE
                    bar.update(task, total=job.items or None, completed=job.items_over, note=_note(job))
                    if job.over:
                        return job
                time.sleep(pause)
                pause = min(pause * 1.3, LONGEST_PAUSE)
    except KeyboardInterrupt:
        console.err.print(
            f"The processing goes on. See `medbus result show {job_id}`, get what it makes with "
            f"`medbus result fetch {job_id} --out DIR`, end it with `medbus result cancel {job_id}`.",
            soft_wrap=True,
        )
        raise SystemExit(console.INTERRUPTED) from None


def results(gateway: Gateway, job_id: UUID) -> Iterator[Result]:
    """The headers of all results so far, by item and number."""
    query: dict[str, str | int] = {"limit": 1000}
    while True:
        page = gateway.get(f"/processing/{job_id}/results", Results, **query)
        yield from page.results
        if page.next is None:
            return
        query["after"] = page.next


def fetch(gateway: Gateway, job_id: UUID, folder: Path) -> list[Path]:
    """Fetch all results so far into a folder, each named by its SOP Instance UID, under a progress bar.

    Raises:
        Incomplete: bytes are missing, or others than they should be.
        MedbusError: the folder can't be written.
        Refused, Unreachable: the gateway refuses, or does not answer.
    """
    found = list(results(gateway, job_id))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with console.progress() as bar:
            task = bar.add_task("fetching", total=len(found), note="")
            files = []
            for each in found:
                files.append(_fetch(gateway, job_id, each, folder))
                bar.update(task, advance=1)
    except OSError as error:
        raise MedbusError(
            f"{folder} can't be written: {error.strerror}.", "Choose another with --out."
        ) from error
    return files


def _fetch(gateway: Gateway, job_id: UUID, result: Result, folder: Path) -> Path:
    path = folder / f"{result.sop_instance_uid}.dcm"
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            gateway.download(f"/processing/{job_id}/results/{result.sop_instance_uid}", file)
        _check(part, result)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _check(file: Path, result: Result) -> None:
    """Go on only if a file ends with the data set of a result.

    Raises:
        Incomplete: it does not.
    """
    from medbus.blobs.address import Digest

    start = file.stat().st_size - result.size
    if start >= 0:
        with file.open("rb") as content:
            content.seek(start)
            digest = Digest()
            while chunk := content.read(1024 * 1024):
                digest.update(chunk)
        if digest.address == result.digest:
            return
    raise Incomplete(f"{result.sop_instance_uid} came with other bytes than it has.", "Fetch it again.")


def _note(job: Job) -> str:
    said = [job.state.lower()]
    if job.failed:
        said.append(f"{job.failed} failed")
    if job.skipped:
        said.append(f"{job.skipped} skipped")
    return ", ".join(said)
