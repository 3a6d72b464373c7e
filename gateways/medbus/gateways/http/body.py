"""Bodies of requests: never longer than allowed, nor waited for without end, and exactly what is expected."""

import asyncio
from http import HTTPStatus
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from medbus.gateways.http.errors import Problem

T = TypeVar("T")

MAX_BYTES = 64 * 1024
SECONDS = 10.0
"""For a body to come."""


async def read(request: Request, limit: int = MAX_BYTES, seconds: float = SECONDS) -> bytes:
    """The body of a request.

    Raises:
        Problem: it is longer than `limit` bytes (413), does not come in time (408), or breaks off (400).
    """
    received = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                received += chunk
                if len(received) > limit:
                    raise Problem(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {limit} bytes."
                    )
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"The body did not come within {seconds:g} s.") from None
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body broke off.") from None
    return bytes(received)


def text(name: str, value: str, longest: int) -> str:
    """A text that people can read.

    Raises:
        Problem: it is empty, too long, or has characters that can't be printed (422).
    """
    if 0 < len(value) <= longest and value.isprintable():
        return value
    raise Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} must have 1 to {longest} characters that can be printed."
    )


def decode(body: bytes, expected: type[T]) -> T:
    """A body of JSON.

    Args:
        body: the body.
        expected: a class that says which fields there are; it should forbid unknown ones.

    Raises:
        Problem: it is no JSON (400), or not what is expected (422).
    """
    try:
        return msgspec.json.decode(body, type=expected)
    except msgspec.ValidationError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is no JSON: {error}.") from error
