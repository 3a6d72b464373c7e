"""Pages by time: so many of the newest, then those before. Nothing is passed over between two pages.

What has one and the same time is never divided: a page ends before it, or holds all of it and may be longer.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

from starlette.datastructures import QueryParams
from starlette.requests import Request

from medbus.gateways.http.answer import moment
from medbus.gateways.http.errors import Problem

T = TypeVar("T")

DEFAULT = 100
MOST = 1000

_INSTANT = timedelta(microseconds=1)

Fetch = Callable[[datetime | None, datetime | None, int | None], Awaitable[Sequence[T]]]
"""Gives what has a time from the first on and before the second, the newest first; at most so many."""


class Wanted(NamedTuple):
    """What a client wants."""

    limit: int
    before: datetime | None


def wanted(query: QueryParams) -> Wanted:
    """What `limit` and `before` say.

    Raises:
        Problem: they are no number from 1 to MOST, or no time with its zone (422).
    """
    text = query.get("limit", str(DEFAULT))
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MOST)) and 1 <= int(text) <= MOST):
        raise _wrong(f"limit is a number from 1 to {MOST}.")
    before = query.get("before")
    if before is None:
        return Wanted(int(text), None)
    try:
        moment = datetime.fromisoformat(before)
        if moment.tzinfo is None:
            raise _wrong("before needs a time zone, as in 2026-10-31T12:00:00Z.")
        return Wanted(int(text), moment.astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise _wrong("before is a time as 2026-10-31T12:00:00Z; write a + in it as %2B.") from error


async def page(
    fetch: Fetch[T], time: Callable[[T], datetime], wanted: Wanted
) -> tuple[Sequence[T], datetime | None]:
    """A page, and `before` of the next one; None where there is none.

    Args:
        fetch: gives what is wanted.
        time: by which it is in order.
        wanted: which page.
    """
    found = await fetch(None, wanted.before, wanted.limit + 1)
    if len(found) <= wanted.limit:
        return found, None
    first_left = time(found[wanted.limit])
    kept: Sequence[T] = [each for each in found if time(each) > first_left]
    if not kept:
        kept = await fetch(first_left, first_left + _INSTANT, None)
    return kept, time(kept[-1])


async def shown_page(
    request: Request,
    name: str,
    fetch: Fetch[T],
    time: Callable[[T], datetime],
    show: Callable[[T], Mapping[str, Any]],
) -> dict[str, Any]:
    """The page that a request wants, as JSON shows it: what it holds, under a name, and `before` of the next.

    Raises:
        Problem: as `wanted`.
    """
    found, following = await page(fetch, time, wanted(request.query_params))
    return {name: [show(each) for each in found], "next": moment(following)}


def among(everything: Sequence[T], time: Callable[[T], datetime]) -> Fetch[T]:
    """For what is read as a whole, because it is little."""

    async def fetch(since: datetime | None, until: datetime | None, limit: int | None) -> Sequence[T]:
        return [
            each
            for each in everything
            if (since is None or time(each) >= since) and (until is None or time(each) < until)
        ][:limit]

    return fetch


def _wrong(detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
