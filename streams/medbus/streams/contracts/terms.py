"""Which terms a contract may have."""

import re
from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_network

import msgspec

from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Apparatus, PaymentCondition, Role, Terms

MAX_NAME = 64
"""The most characters in a subscriber id or an apparatus id."""

_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
_HOST = re.compile(r"[\x21-\x7e]{1,253}")
_LONG = 2**63


class InvalidTerms(MedbusError):
    """A contract can't have these terms."""


def subscriber_id(name: str) -> str:
    """A subscriber id, checked: 1 to 64 printable characters, no slash, no blank at either end.

    Raises:
        InvalidTerms: it is none.
    """
    if not _named(name) or "/" in name:
        raise InvalidTerms(
            f"{name[: MAX_NAME + 1]!r} can't be the id of a subscriber.",
            f"Use 1 to {MAX_NAME} printable characters without a slash and without blanks at the ends, "
            "for example A-hospital.",
        )
    return name


def ae_title(title: str) -> str:
    """An application entity title without the blanks that don't count.

    1 to 16 characters of the default repertoire, no backslash, no control character, not only spaces; leading
    and trailing spaces are not significant (PS3.5 section 6.2, AE; PS3.8 section 9.3.2).

    Raises:
        InvalidTerms: it is none.
    """
    if not _AE_TITLE.fullmatch(title) or not title.strip(" "):
        raise InvalidTerms(
            f"{title[:32]!r} is no AE title.",
            "Use 1 to 16 ASCII characters, not only spaces, without backslash and control characters.",
        )
    return title.strip(" ")


def checked(terms: Terms) -> Terms:
    """The terms in the form in which they are recorded: AE titles without blanks, networks written out.

    Raises:
        InvalidTerms: a contract can't have them.
    """
    if not terms.roles or Role.UNSPECIFIED in terms.roles:
        raise InvalidTerms(
            "A contract needs at least one role.",
            f"Roles are {', '.join(role for role in Role if role is not Role.UNSPECIFIED)}.",
        )
    if terms.capacity_bytes is not None and not 0 <= terms.capacity_bytes < _LONG:
        raise InvalidTerms(
            f"A capacity of {terms.capacity_bytes} bytes is not possible.",
            "Give 0 or more bytes, or no capacity at all for no limit.",
        )
    if terms.payment is PaymentCondition.UNSPECIFIED:
        raise InvalidTerms(
            "This condition of payment is not known here.", "Conditions are PREPAID and CONFIRMED, or none."
        )
    apparatuses = tuple(_checked(apparatus) for apparatus in terms.apparatuses)
    _unique("apparatus", (apparatus.apparatus_id for apparatus in apparatuses))
    _unique("AE title", (apparatus.ae_title for apparatus in apparatuses))
    return msgspec.structs.replace(
        terms,
        roles=tuple(dict.fromkeys(terms.roles)),
        apparatuses=apparatuses,
        networks=tuple(dict.fromkeys(_network(network) for network in terms.networks)),
    )


def _checked(apparatus: Apparatus) -> Apparatus:
    if not _named(apparatus.apparatus_id):
        raise InvalidTerms(
            f"{apparatus.apparatus_id[: MAX_NAME + 1]!r} can't be the id of an apparatus.",
            f"Use 1 to {MAX_NAME} printable characters, for example A_CT#1.",
        )
    if (apparatus.host is None) != (apparatus.port is None):
        raise InvalidTerms(
            f"{apparatus.apparatus_id} has a host without a port, or a port without a host.",
            "Give both if images are to be sent to it, else neither.",
        )
    if apparatus.host is not None and not _HOST.fullmatch(apparatus.host):
        raise InvalidTerms(f"{apparatus.host!r} is no host.", "Give a host name or an address.")
    if apparatus.port is not None and not 1 <= apparatus.port <= 65535:
        raise InvalidTerms(f"{apparatus.port} is no port.", "Ports are 1 to 65535; DICOM's own is 11112.")
    return msgspec.structs.replace(apparatus, ae_title=ae_title(apparatus.ae_title))


def _network(text: str) -> str:
    try:
        return str(ip_network(text.strip()))
    except ValueError as error:
        try:
            advice = f"Did you mean {ip_network(text.strip(), strict=False)}?"
        except ValueError:
            advice = "Write it like 192.0.2.0/24 or 2001:db8::/32, or a single address."
        raise InvalidTerms(f"{text[:64]!r} is no network: {error}.", advice) from error


def _named(name: str) -> bool:
    return 1 <= len(name) <= MAX_NAME and name.isprintable() and name == name.strip()


def _unique(noun: str, values: Iterable[str]) -> None:
    twice = sorted(value for value, count in Counter(values).items() if count > 1)
    if twice:
        raise InvalidTerms(f"The {noun} {twice[0]!r} is there twice.", f"Give each {noun} once.")
