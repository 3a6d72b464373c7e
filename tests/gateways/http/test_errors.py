"""Errors as problem details (RFC 9457)."""

import json
from http import HTTPStatus

import pytest

from medbus.gateways.grants import Exhausted, Rejected, Undecided
from medbus.gateways.http.errors import STATUS, Problem, problem_of
from medbus.gateways.quota import UsageUnknown
from medbus.projections.errors import CatalogMissing
from medbus.schemas.errors import BusError, MedbusError, SchemaError
from medbus.schemas.events import RejectionReason


def body(problem: Problem) -> dict[str, object]:
    """What is sent."""
    response = problem.response()
    assert response.headers["content-type"] == "application/problem+json"
    fields: dict[str, object] = json.loads(bytes(response.body))
    assert fields["status"] == response.status_code
    return fields


def made(error: MedbusError) -> Problem:
    """The problem that an error is."""
    problem = problem_of(error)
    assert problem is not None
    return problem


def test_every_reason_has_its_status() -> None:
    assert {reason.value: int(STATUS[reason]) for reason in RejectionReason} == {
        "UNSPECIFIED": 403,
        "UNKNOWN_SUBSCRIBER": 401,
        "CONTRACT_CANCELLED": 403,
        "WRONG_ROLE": 403,
        "WRONG_NETWORK": 403,
        "WRONG_CREDENTIAL": 401,
        "OUT_OF_SCOPE": 403,
        "NO_CAPACITY_LEFT": 507,
        "UNKNOWN_DESTINATION": 404,
        "PAYMENT_REQUIRED": 402,
        "UNDECIDABLE": 503,
    }


def test_a_rejection_says_what_and_why() -> None:
    problem = made(Rejected(RejectionReason.PAYMENT_REQUIRED, "Pay, and ask again."))
    assert body(problem) == {
        "title": "Payment Required",
        "status": 402,
        "detail": "Pay, and ask again.",
        "reason": "PAYMENT_REQUIRED",
    }
    assert dict(problem.headers or {}) == {}


def test_an_exhausted_quota_is_told_as_no_capacity_left() -> None:
    problem = made(Exhausted("The contract's 1000 bytes are used up."))
    assert problem.status_code == HTTPStatus.INSUFFICIENT_STORAGE
    assert body(problem)["reason"] == "NO_CAPACITY_LEFT"


@pytest.mark.parametrize(
    "error",
    [
        Rejected(RejectionReason.UNDECIDABLE, "x"),
        Undecided("x"),
        UsageUnknown("x"),
        CatalogMissing("x"),
        BusError("x"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_passes_says_when_to_come_back(error: MedbusError) -> None:
    problem = made(error)
    assert problem.status_code == 503
    assert problem.headers == {"Retry-After": "5"}


def test_who_is_not_known_is_challenged() -> None:
    for reason in (RejectionReason.UNKNOWN_SUBSCRIBER, RejectionReason.WRONG_CREDENTIAL):
        assert made(Rejected(reason, "x")).headers == {"WWW-Authenticate": "Bearer"}


def test_what_nobody_expects_is_no_problem_of_the_clients() -> None:
    assert problem_of(SchemaError("x")) is None
