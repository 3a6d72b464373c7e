"""Events of price lists."""

from enum import StrEnum

from medbus.schemas.events.base import Event, Instant, Int, Long, Value


class FeeKind(StrEnum):
    """What a fee is for, and by what it is counted."""

    UNSPECIFIED = "UNSPECIFIED"
    SUBSCRIPTION = "SUBSCRIPTION"
    MANAGEMENT = "MANAGEMENT"
    MANAGEMENT_PRORATED = "MANAGEMENT_PRORATED"
    REGISTRATION_ALLOCATED = "REGISTRATION_ALLOCATED"
    REGISTRATION_IN_USE = "REGISTRATION_IN_USE"
    DELIVERY = "DELIVERY"
    CONNECTION = "CONNECTION"
    PROCESSING_FIXED = "PROCESSING_FIXED"
    PROCESSING_IMAGE = "PROCESSING_IMAGE"
    PROCESSING_BYTE = "PROCESSING_BYTE"
    PROCESSING_SESSION = "PROCESSING_SESSION"
    PROCESSING_SECOND = "PROCESSING_SECOND"
    SOFTWARE_RUN = "SOFTWARE_RUN"
    SOFTWARE_PERIOD = "SOFTWARE_PERIOD"


class Price(Value):
    """What a thing costs: so much, as a decimal number, for each `per` units."""

    kind: FeeKind
    item: str = ""
    price: str
    per: Long


class TariffSet(Event):
    """A price list has a new version, which is good from a time on."""

    tariff: str
    version: Int
    valid_from: Instant
    currency: str
    policy: str
    prices: tuple[Price, ...] = ()
