"""What a decision rests on, beside the request."""

from collections.abc import Mapping
from datetime import timedelta

from medbus.projections.accounts import Account
from medbus.projections.directory.contract import Contract
from medbus.schemas.events import Apparatus, Money, Value


class Destination(Value):
    """An apparatus to which images may be sent, with the contract that it belongs to."""

    contract: Contract
    apparatus: Apparatus


class Facts(Value):
    """What the catalogs say about what a request names; all of it as far as it is named and known.

    Attributes:
        token: the contract that has a credential with the token's digest, in whatever state both are.
        certificate: likewise with the certificate's digest.
        ae_title: the live contract that has an apparatus with the calling AE title, else the one cancelled
            last.
        destination: the apparatus at which a delivery is aimed, if it has a host and a port and its contract
            is live.
        recipients: the contracts, by subscriber id and in whatever state, of those to which the results of a
            processing request are to go.
        device: the contract of the hard-copy device at which a print is aimed.
        account: the account of the contract that the evidence points to, where it must have been paid.
        currency: in which that contract's price list is.
        delivery_price: of one image, for a delivery that is paid in advance; None where it is free of charge.
        used_bytes: what the contract that the evidence points to has registered, in bytes.
        grant_lifetime: how long a grant is good for.
    """

    token: Contract | None = None
    certificate: Contract | None = None
    ae_title: Contract | None = None
    destination: Destination | None = None
    recipients: Mapping[str, Contract] = {}
    device: Contract | None = None
    account: Account | None = None
    currency: str | None = None
    delivery_price: Money | None = None
    used_bytes: int = 0
    grant_lifetime: timedelta = timedelta(hours=1)
