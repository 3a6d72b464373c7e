"""What can be asked of the price lists."""

from medbus.schemas.events import Instant, Price
from medbus.streams import command


class SetTariff(command.Command):
    """Give a price list a new version, its first one included.

    Attributes:
        tariff: the name of the price list.
        currency: of all its prices, three letters (ISO 4217).
        prices: what is charged from then on; what is not here is free of charge.
        valid_from: from when; None for at once.
    """

    tariff: str
    currency: str
    prices: tuple[Price, ...]
    valid_from: Instant | None = None
