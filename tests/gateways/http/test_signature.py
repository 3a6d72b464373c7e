"""Signatures of webhooks, against values that OpenSSL computed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbus.gateways.http.signature import BadSignature, sign, verify

# printf '%s' '1767787200.{"reference":"R-1"}' | openssl dgst -sha256 -hmac 'a secret of the bank'
NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)
BODY = b'{"reference":"R-1"}'
NEW, OLD = "a secret of the bank", "an older secret of it"
BY_NEW = "177dd0c77b4304daa5cdf9d36f45570c72ed30b8efc37d01c83ccd8022b979e9"
BY_OLD = "ceda017c8d4a2d4380c597c41687645e70f631adbeb8f4c4ea777e6d3e5bf60d"


def test_a_signature_is_what_others_compute() -> None:
    assert sign(NEW, BODY, NOW) == f"t=1767787200,v1={BY_NEW}"
    assert sign(OLD, BODY, NOW + timedelta(milliseconds=999)) == f"t=1767787200,v1={BY_OLD}"


@pytest.mark.parametrize(
    "header",
    [
        f"t=1767787200,v1={BY_NEW}",
        f"t=1767787200,v1={BY_OLD}",
        f"v1={BY_OLD},t=1767787200",
        f"t=1767787200, v1={'0' * 64}, v1={BY_NEW}",
        f"t=1767787200,v0=x,v1={BY_NEW},other",
    ],
)
def test_any_signature_under_any_secret_is_good(header: str) -> None:
    verify(header, BODY, [NEW, OLD], NOW)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1767787200",
        f"v1={BY_NEW}",
        f"t=1767787200,t=1767787200,v1={BY_NEW}",
        f"t=1767787200,v1={BY_NEW[:-1]}",
        f"t=1767787200,v1={BY_NEW.upper()}",
        f"t=1767787201,v1={BY_NEW}",
        f"t=01767787200,v1={BY_NEW}",
        f"t=-1767787200,v1={BY_NEW}",
        f"t=1767787200.0,v1={BY_NEW}",
        f"t=١٧٦٧٧٨٧٢٠٠,v1={BY_NEW}",
        f"t={'9' * 400},v1={BY_NEW}",
        "t=1767787200,v1=",
        "t=1767787200,v1=ä\udcff",
    ],
)
def test_what_is_malformed_or_wrong_is_refused(header: str) -> None:
    with pytest.raises(BadSignature):
        verify(header, BODY, [NEW, OLD], NOW)


def test_another_body_or_secret_is_refused() -> None:
    header = sign(NEW, BODY, NOW)
    for body, secrets in ((BODY + b" ", [NEW]), (BODY, [OLD]), (BODY, [])):
        with pytest.raises(BadSignature, match="not that of this body"):
            verify(header, body, secrets, NOW)


@pytest.mark.parametrize("side", [1, -1])
def test_it_is_good_for_five_minutes_on_either_side(side: int) -> None:
    header = sign(NEW, BODY, NOW)
    verify(header, BODY, [NEW], NOW + side * timedelta(seconds=300))
    with pytest.raises(BadSignature, match="another time"):
        verify(header, BODY, [NEW], NOW + side * timedelta(seconds=301))


@given(st.binary(max_size=50), st.text(min_size=1, max_size=20), st.text(max_size=30))
def test_only_the_body_and_secret_that_were_signed_fit(body: bytes, secret: str, other: str) -> None:
    header = sign(secret, body, NOW)
    verify(header, body, [secret], NOW)
    for forged, under in ((body + b"0", secret), (body, secret + "0")):
        with pytest.raises(BadSignature):
            verify(header, forged, [under], NOW)
    with pytest.raises(BadSignature):
        verify(other, body, [secret], NOW)
