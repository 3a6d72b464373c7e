"""What a receiver checks."""

from datetime import UTC, datetime

import pytest

from medbus.gateways.http.signature import sign
from medbus.gateways.results.announcement import Malformed, received


def test_a_body_that_is_signed_but_says_something_else_is_no_announcement() -> None:
    now = datetime.now(UTC)
    with pytest.raises(Malformed):
        received(sign("secret", b"{}", now), b"{}", ["secret"], now)
