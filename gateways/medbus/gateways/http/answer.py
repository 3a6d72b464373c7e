"""Answers in JSON, and how events and catalogs are shown in them."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.responses import Response

from medbus.bus import Position
from medbus.schemas import money
from medbus.schemas.events import Money, Origin

PRIVATE = {"Cache-Control": "no-store"}


def answer(
    content: Mapping[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """A body of JSON; nobody on the way may keep it."""
    body = msgspec.json.encode(content)
    return Response(body, status, media_type="application/json", headers={**PRIVATE, **headers})


def amount(shown: Money) -> dict[str, str]:
    """An amount with all its decimals, as a text."""
    return {"amount": money.number_of(shown), "currency": shown.currency}


def place(shown: Position | Origin) -> dict[str, str | int]:
    """A place in the log."""
    if isinstance(shown, Origin):
        return {"topic": shown.topic, "partition": shown.partition, "offset": shown.offset}
    return {
        "topic": shown.partition.topic,
        "partition": shown.partition.number,
        "offset": shown.offset,
    }


def moment(shown: datetime | None) -> str | None:
    """A point in time (RFC 3339)."""
    return None if shown is None else shown.isoformat().replace("+00:00", "Z")
