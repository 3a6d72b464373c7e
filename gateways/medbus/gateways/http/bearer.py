"""What a client shows of itself: a bearer token (RFC 6750)."""

import hashlib
import re
from http import HTTPStatus

from starlette.requests import Request

from medbus.gateways.http.errors import CHALLENGE, Problem
from medbus.schemas.events import Evidence

_CREDENTIALS = re.compile(r"bearer +([A-Za-z0-9._~+/-]{1,1024}=*)", re.IGNORECASE)


def evidence(request: Request) -> Evidence:
    """The evidence of a request: the token's digest, never the token, and the client's address.

    Raises:
        Problem: there is no token (401). Nobody is asked then.
    """
    match = _CREDENTIALS.fullmatch(request.headers.get("authorization", "").strip())
    if match is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "A bearer token is needed: Authorization: Bearer TOKEN.",
            headers=CHALLENGE,
        )
    address = "unknown" if request.client is None else request.client.host
    return Evidence(address=address, token=hashlib.sha256(match[1].encode()).hexdigest())
