"""Which terms a contract may have."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from itertools import combinations
from pathlib import PurePosixPath
from urllib.parse import SplitResult, urlsplit

import msgspec

from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Apparatus, Collection, PaymentCondition, Retrieval, Role, Terms

MAX_NAME = 64
"""The most characters in a subscriber id or an apparatus id."""

MIN_SECONDS, MAX_SECONDS = 5, 31 * 86400
"""How often a subscriber may be asked for new images: the least and the most seconds from one look to the
next."""

_MAX_ADDRESS = 2048
_VISIBLE = re.compile(r"[\x21-\x7e]+")
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
    """The terms in the form in which they are recorded: AE titles without blanks, networks written out, paths
    of folders without needless slashes.

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
    if terms.collections and Role.IMAGE_REGISTERING not in terms.roles:
        raise InvalidTerms(
            "Images can't be collected under a contract without the role IMAGE_REGISTERING.",
            "Add the role, or collect nothing.",
        )
    by_id = {apparatus.apparatus_id: apparatus for apparatus in apparatuses}
    collections = tuple(_collection(collection, by_id) for collection in terms.collections)
    _unique(
        "collection",
        (f"{each.apparatus_id}={each.address or each.retrieval.lower()}" for each in collections),
    )
    for one, other in combinations(folders(collections), 2):
        if within(one, other):
            raise InvalidTerms(
                f"The folders {one} and {other} are not apart: their images would be collected twice.",
                "Give each apparatus a folder of its own.",
            )
    return msgspec.structs.replace(
        terms,
        roles=tuple(dict.fromkeys(terms.roles)),
        apparatuses=apparatuses,
        networks=tuple(dict.fromkeys(_network(network) for network in terms.networks)),
        webhook=None if terms.webhook is None else _webhook(terms.webhook),
        collections=collections,
    )


def folders(collections: Iterable[Collection]) -> list[str]:
    """The folders among the places from which images are collected."""
    return [each.address for each in collections if each.retrieval is Retrieval.FOLDER]


def within(one: str, other: str) -> bool:
    """Whether one of two folders is the other or lies in it."""
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)


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


def _webhook(text: str) -> str:
    url = _url(text)
    if url.scheme == "http" and not _loopback(url.hostname or ""):
        raise InvalidTerms(
            f"The webhook {text[:80]!r} is not safe: what is sent there could be read on the way.",
            "Give an https URL; http is for this machine itself only, as http://127.0.0.1:9000/results.",
        )
    return url.geturl()


def _collection(collection: Collection, apparatuses: Mapping[str, Apparatus]) -> Collection:
    apparatus = apparatuses.get(collection.apparatus_id)
    if apparatus is None:
        raise InvalidTerms(
            f"{collection.apparatus_id[:MAX_NAME]!r} is no apparatus of the contract, so nothing can be "
            "collected from it.",
            f"Apparatuses are {', '.join(apparatuses) or 'none'}. Add it, or name another.",
        )
    if not MIN_SECONDS <= collection.every_seconds <= MAX_SECONDS:
        raise InvalidTerms(
            f"Images can't be collected from {collection.apparatus_id} every {collection.every_seconds} s.",
            f"Give {MIN_SECONDS} seconds to {MAX_SECONDS // 86400} days.",
        )
    match collection.retrieval:
        case Retrieval.C_GET | Retrieval.C_MOVE:
            address = _by_dicom(collection, apparatus)
        case Retrieval.DICOMWEB:
            address = _url(collection.address).geturl()
        case Retrieval.FOLDER:
            address = _folder(collection.address)
        case _:
            raise InvalidTerms(
                f"How images are collected from {collection.apparatus_id} is not known here.",
                f"Ways are {', '.join(way for way in Retrieval if way is not Retrieval.UNSPECIFIED)}.",
            )
    return msgspec.structs.replace(collection, address=address)


def _by_dicom(collection: Collection, apparatus: Apparatus) -> str:
    if apparatus.host is None:
        raise InvalidTerms(
            f"{apparatus.apparatus_id} has no host and port, so it can't be asked for images by "
            f"{collection.retrieval}.",
            "Give both with the apparatus.",
        )
    if collection.address:
        raise InvalidTerms(
            f"{collection.retrieval} needs no address, and {collection.address[:80]!r} is one.",
            "The apparatus says where it listens: leave the address out.",
        )
    return ""


def _folder(text: str) -> str:
    path = PurePosixPath(text)
    if (
        not path.is_absolute()
        or len(path.parts) == 1
        or ".." in path.parts
        or not text.isprintable()
        or len(text) > _MAX_ADDRESS
    ):
        raise InvalidTerms(
            f"{text[:80]!r} is no folder to collect from.",
            "Give its absolute path without '..', for example /var/spool/ct1; the root itself can't be one.",
        )
    return "/" + "/".join(path.parts[1:])


def _url(text: str) -> SplitResult:
    """A URL with a host. The log keeps it, so it must hold no password."""
    try:
        url = urlsplit(text)
        sound = url.port != 0 and _VISIBLE.fullmatch(text) is not None and len(text) <= _MAX_ADDRESS
    except ValueError:
        sound = False
    if not sound or url.scheme not in ("https", "http") or not url.hostname:
        raise InvalidTerms(
            f"{text[:80]!r} is no URL that can be called.", "Write it like https://pacs.example/dicom-web."
        )
    if "@" in url.netloc:
        raise InvalidTerms(
            "A URL with a user or a password in it can't be part of a contract, which the log keeps.",
            "Leave them out.",
        )
    if url.fragment:
        raise InvalidTerms(f"{text[:80]!r} has a fragment.", "Leave out what follows '#'.")
    return url


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _named(name: str) -> bool:
    return 1 <= len(name) <= MAX_NAME and name.isprintable() and name == name.strip()


def _unique(noun: str, values: Iterable[str]) -> None:
    twice = sorted(value for value, count in Counter(values).items() if count > 1)
    if twice:
        raise InvalidTerms(f"The {noun} {twice[0]!r} is there twice.", f"Give each {noun} once.")
