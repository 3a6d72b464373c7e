"""Where webhooks may go."""

import pytest

from medbus.gateways.results.errand import Impossible
from medbus.gateways.results.posting import address


@pytest.mark.parametrize(
    "url",
    [
        "https://results.example/medbus?x=1",
        "http://127.0.0.1:8000/",
        "http://127.1.2.3/",
        "http://[::1]:8000/",
        "http://localhost:8000/",
    ],
)
def test_addresses_that_are_posted_to(url: str) -> None:
    assert str(address(url)) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (None, "names no webhook"),
        ("", "names no webhook"),
        ("http://results.example/", "is not https"),
        ("http://10.0.0.1/", "is not https"),
        ("http://localhost.example/", "is not https"),
        ("ftp://127.0.0.1/", "is not https"),
        ("file:///etc/passwd", "is not https"),
        ("https:///nowhere", "is not https"),
        ("results.example", "is not https"),
        ("https://results.example:port/", "is no URL"),
    ],
)
def test_addresses_that_are_not(url: str | None, why: str) -> None:
    with pytest.raises(Impossible, match=why):
        address(url)
