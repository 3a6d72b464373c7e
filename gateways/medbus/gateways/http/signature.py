"""Signatures of webhooks: HMAC-SHA256 over time and body, so that neither can be forged nor sent again later.

The header is `t=SECONDS,v1=HEX`: the time in seconds since 1970, and the digest of `SECONDS.BODY` under a
secret that both sides know. It may have several `v1`, while the sender changes its secret. Pure.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from medbus.schemas.errors import MedbusError

HEADER = "Medbus-Signature"

TOLERANCE = timedelta(seconds=300)
"""How far the time of a signature may be from the clock, on either side."""

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


class BadSignature(MedbusError):
    """A signature is missing, wrong, or too old."""


def sign(secret: str, body: bytes, at: datetime) -> str:
    """The header for a body.

    Args:
        secret: what both sides know.
        body: as it is sent.
        at: now.
    """
    seconds = str(int(at.timestamp()))
    return f"t={seconds},v1={_digest(secret, seconds, body)}"


def verify(header: str, body: bytes, secrets: Sequence[str], now: datetime) -> None:
    """Check a header.

    Every signature is compared with that of every secret, in a time that tells nothing about them.

    Args:
        header: its value.
        body: as it came.
        secrets: any of them is good.
        now: the time.

    Raises:
        BadSignature: the header is malformed, no signature fits, or it is too old.
    """
    seconds, given = _parsed(header)
    expected = [_digest(secret, seconds, body).encode() for secret in secrets]
    fitting = [hmac.compare_digest(each, wanted) for each in given for wanted in expected]
    if not any(fitting):
        raise BadSignature("The signature is not that of this body under a secret of ours.")
    if abs(now.timestamp() - int(seconds)) > TOLERANCE.total_seconds():
        raise BadSignature(
            f"The signature is of another time: more than {TOLERANCE.total_seconds():.0f} s from now.",
            "Sign it again, and check the clocks.",
        )


def _parsed(header: str) -> tuple[str, list[bytes]]:
    """The time as it is written, and the signatures. Parts that are not known are passed over."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for key, _, value in parts if key == "t"]
    signatures = [value.encode("utf-8", "replace") for key, _, value in parts if key == "v1"]
    if len(times) != 1 or not _SECONDS.fullmatch(times[0]) or not signatures:
        raise BadSignature(f"{HEADER} is missing or malformed.", f"Write {HEADER}: t=SECONDS,v1=HEX.")
    return times[0], signatures


def _digest(secret: str, seconds: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
