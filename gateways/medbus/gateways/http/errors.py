"""Errors as problem details for HTTP (RFC 9457). The registry's calls have their own, see `registry`."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from medbus.blobs import BlobCorrupted, BlobError, BlobNotFound
from medbus.gateways.grants import Exhausted, Rejected, Undecided
from medbus.gateways.quota import UsageUnknown
from medbus.projections.errors import CatalogError
from medbus.schemas.errors import BusError, MedbusError
from medbus.schemas.events import RejectionReason

MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 5
"""When to come back, where the service can't answer now."""

STATUS: Mapping[RejectionReason, HTTPStatus] = MappingProxyType(
    {
        RejectionReason.UNSPECIFIED: HTTPStatus.FORBIDDEN,
        RejectionReason.UNKNOWN_SUBSCRIBER: HTTPStatus.UNAUTHORIZED,
        RejectionReason.WRONG_CREDENTIAL: HTTPStatus.UNAUTHORIZED,
        RejectionReason.PAYMENT_REQUIRED: HTTPStatus.PAYMENT_REQUIRED,
        RejectionReason.CONTRACT_CANCELLED: HTTPStatus.FORBIDDEN,
        RejectionReason.WRONG_ROLE: HTTPStatus.FORBIDDEN,
        RejectionReason.WRONG_NETWORK: HTTPStatus.FORBIDDEN,
        RejectionReason.OUT_OF_SCOPE: HTTPStatus.FORBIDDEN,
        RejectionReason.UNKNOWN_DESTINATION: HTTPStatus.NOT_FOUND,
        RejectionReason.UNDECIDABLE: HTTPStatus.SERVICE_UNAVAILABLE,
        RejectionReason.NO_CAPACITY_LEFT: HTTPStatus.INSUFFICIENT_STORAGE,
    }
)
"""How a request is answered that was decided against."""

CHALLENGE = {"WWW-Authenticate": "Bearer"}
_LATER = {"Retry-After": str(RETRY_SECONDS)}


class Problem(HTTPException):
    """A request that can't be done.

    Args:
        status: the HTTP status.
        detail: what is wrong, for people.
        reason: why it was decided against, where it was.
        headers: of the answer.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        reason: RejectionReason | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.reason = reason

    def response(self) -> Response:
        """The answer."""
        fields = {
            "title": HTTPStatus(self.status_code).phrase,
            "status": self.status_code,
            "detail": self.detail,
        }
        if self.reason is not None:
            fields["reason"] = self.reason.value
        return Response(
            msgspec.json.encode(fields), self.status_code, media_type=MEDIA_TYPE, headers=self.headers
        )


def problem_of(error: MedbusError) -> Problem | None:
    """The same error for HTTP, where it is one of those that a request may meet."""
    problem: Problem | None = None
    match error:
        case Rejected():
            problem = _rejected(error.reason, error.detail)
        case Exhausted():
            problem = _rejected(RejectionReason.NO_CAPACITY_LEFT, error.message)
        case Undecided():
            problem = unavailable("There was no decision in time.")
        case UsageUnknown():
            problem = unavailable(error.message)
        case BlobNotFound() | BlobCorrupted():
            problem = None  # nobody expected it
        case BlobError():
            problem = unavailable("The image store can't be used now.")
        case CatalogError():
            problem = unavailable("The catalogs can't be read now.")
        case BusError():
            problem = unavailable("The event log does not answer.")
    return problem


def _rejected(reason: RejectionReason, detail: str) -> Problem:
    status = STATUS[reason]
    headers = {HTTPStatus.UNAUTHORIZED: CHALLENGE, HTTPStatus.SERVICE_UNAVAILABLE: _LATER}
    return Problem(status, detail, reason=reason, headers=headers.get(status))


def unavailable(detail: str) -> Problem:
    """What can be done later, and is harmless to ask again."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=_LATER)


async def on_problem(_: Request, error: Exception) -> Response:
    """Any error of the calls that are not the registry's."""
    problem: Problem | None = None
    match error:
        case Problem():
            problem = error
        case HTTPException():
            problem = Problem(HTTPStatus(error.status_code), error.detail, headers=error.headers)
        case MedbusError():
            problem = problem_of(error)
    return (problem or Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal error.")).response()
