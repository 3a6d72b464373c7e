"""Identity of payments: the same reference at the same channel is the same payment, however often it is
reported."""

from uuid import NAMESPACE_OID, UUID, uuid5

WEBHOOK = "webhook"
MANUAL = "manual"

MAX_REFERENCE, MAX_NOTE = 200, 1000
"""The most characters of a reference and of a note."""


def payment_id(channel: str, reference: str) -> UUID:
    """The event id of a payment.

    Args:
        channel: who reports it: WEBHOOK or MANUAL.
        reference: its identity there.
    """
    return uuid5(NAMESPACE_OID, f"medbus/payment/{channel}/{reference}")
