"""The terms of a contract as options of a command, and what they are read into."""

import re
from typing import Annotated

import typer

from medbus.compose.cli.options import size
from medbus.schemas.errors import SettingsError
from medbus.schemas.events import Apparatus, Collection, PaymentCondition, Retrieval, Role

ROLES = tuple(role for role in Role if role is not Role.UNSPECIFIED)
CONDITIONS = tuple(each for each in PaymentCondition if each is not PaymentCondition.UNSPECIFIED)
NONE = "none"

_ROLE_HELP = "What it may do: " + ", ".join(r.value.lower() for r in ROLES) + "."

RolesOption = Annotated[list[str], typer.Option("--role", help=_ROLE_HELP)]
NewRolesOption = Annotated[list[str] | None, typer.Option("--role", help=_ROLE_HELP)]
ApparatusesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--apparatus",
        metavar="ID=AET[/MODALITY][@HOST:PORT]",
        help="An apparatus; with host and port images may be sent to it.",
    ),
]
NetworksOption = Annotated[
    list[str] | None,
    typer.Option(
        "--network", metavar="CIDR", help="Where it may speak from without another credential; loopback."
    ),
]
PatientsOption = Annotated[
    list[str] | None, typer.Option("--patient", help="Only images of this patient id.")
]
RegistrantsOption = Annotated[
    list[str] | None, typer.Option("--registrant", help="Only images that this subscriber registered.")
]
ModalitiesOption = Annotated[
    list[str] | None, typer.Option("--modality", help="Only images of this modality.")
]
CapacityOption = Annotated[
    str | None, typer.Option(metavar="SIZE", help="The most that it may keep registered, as 500GB.")
]
TariffOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The price list by which it pays, see `medbus tariff list`."),
]
PaymentOption = Annotated[
    str | None,
    typer.Option(
        metavar="CONDITION",
        help="What must have been paid before a request: prepaid (more was paid than charged), "
        "confirmed (a payment, and every invoice), none.",
    ),
]
WebhookOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where results of processing are announced, https; none for nowhere. The secret by which it is "
        "signed: `medbus subscriber webhook`.",
    ),
]
CollectionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--collect",
        metavar="APPARATUS=WAY[@EVERY]",
        help="Ask this apparatus of the contract for new images, and register them. WAY: c-get or c-move (it "
        "has a host and a port), the URL of a DICOMweb service, or the absolute path of a folder. EVERY: a "
        "number and s, m, h or d; 5m by default.",
    ),
]


def role(text: str) -> Role:
    """The role of this name, however written: image-receiving, IMAGE_RECEIVING.

    Raises:
        SettingsError: there is none.
    """
    name = text.strip().upper().replace("-", "_")
    if name not in {each.value for each in ROLES}:
        raise SettingsError(
            f"There is no role {text!r}.", f"Choose among {', '.join(r.lower() for r in ROLES)}."
        )
    return Role(name)


_APPARATUS = re.compile(
    r"(?P<id>[^=]+)=(?P<aet>[^/@]+)(?:/(?P<modality>[^@]*))?(?:@(?P<host>.+):(?P<port>\d+))?"
)


def apparatus(text: str) -> Apparatus:
    """An apparatus from ID=AET[/MODALITY][@HOST:PORT].

    Raises:
        SettingsError: it is not written so.
    """
    match = _APPARATUS.fullmatch(text.strip())
    if match is None:
        raise SettingsError(
            f"{text!r} does not describe an apparatus.",
            "Write ID=AET, ID=AET/MODALITY or ID=AET/MODALITY@HOST:PORT, as 'A_CT#1=A_CT1/CT@10.0.0.7:104'.",
        )
    return Apparatus(
        apparatus_id=match["id"].strip(),
        ae_title=match["aet"].strip(),
        modality=(match["modality"] or "").strip(),
        host=match["host"],
        port=None if match["port"] is None else int(match["port"]),
    )


def address(apparatus: Apparatus) -> str:
    """Where an apparatus listens; empty if it does not."""
    return "" if apparatus.host is None else f"{apparatus.host}:{apparatus.port}"


EVERY_SECONDS = 300
"""How often images are collected if nothing is said."""

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_COLLECTION = re.compile(r"(?P<id>[^=]+)=(?P<way>.+?)(?:@(?P<number>\d{1,9})(?P<unit>[smhd]))?")
_BY_DICOM = {"C-GET": Retrieval.C_GET, "C-MOVE": Retrieval.C_MOVE}


def collection(text: str) -> Collection:
    """A collection from APPARATUS=WAY[@EVERY].

    Raises:
        SettingsError: it is not written so.
    """
    match = _COLLECTION.fullmatch(text.strip())
    way = "" if match is None else match["way"].strip()
    retrieval = _BY_DICOM.get(way.upper().replace("_", "-"))
    if retrieval is None:
        if way.startswith("/"):
            retrieval = Retrieval.FOLDER
        elif "://" in way:
            retrieval = Retrieval.DICOMWEB
    if match is None or retrieval is None:
        raise SettingsError(
            f"{text!r} does not say how images are collected.",
            "Write APPARATUS=WAY or APPARATUS=WAY@EVERY, as 'A_CT#1=c-get@300s', 'A_CT#1=c-move', "
            "'A_PACS#1=https://pacs.example/dicom-web@1h' or 'A_US#1=/var/spool/us1@30s'.",
        )
    number, unit = match["number"], match["unit"]
    return Collection(
        retrieval=retrieval,
        apparatus_id=match["id"].strip(),
        address="" if retrieval in _BY_DICOM.values() else way,
        every_seconds=EVERY_SECONDS if number is None else int(number) * _UNITS[unit],
    )


def way(collection: Collection) -> str:
    """How images are collected, as an option has it."""
    return collection.address or collection.retrieval.lower().replace("_", "-")


def every(collection: Collection) -> str:
    """How often images are collected, as an option has it: in the largest unit that divides it."""
    seconds = collection.every_seconds
    unit = next(each for each, length in _UNITS.items() if seconds % length == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def collected(collection: Collection) -> str:
    """A collection as an option has it: APPARATUS=WAY@EVERY."""
    return f"{collection.apparatus_id}={way(collection)}@{every(collection)}"


def webhook(text: str) -> str | None:
    """Where results are announced; None for nowhere."""
    return None if text.strip().lower() == NONE else text.strip()


def capacity(text: str) -> int | None:
    """A capacity in bytes; None for none, which is no limit.

    Raises:
        SettingsError: it is no size.
    """
    return None if text.strip().lower() == NONE else size(text)


def tariff(text: str) -> str | None:
    """The name of a price list; None for none."""
    return None if text.strip().lower() == NONE else text.strip()


def payment(text: str) -> PaymentCondition | None:
    """What must have been paid, however written; None for none.

    Raises:
        SettingsError: there is no such condition.
    """
    name = text.strip().upper()
    if name == NONE.upper():
        return None
    if name not in {each.value for each in CONDITIONS}:
        raise SettingsError(
            f"There is no payment condition {text!r}.",
            f"Choose among {', '.join(each.lower() for each in CONDITIONS)}, {NONE}.",
        )
    return PaymentCondition(name)


def listed(texts: list[str]) -> tuple[str, ...]:
    """The values of an option that may be given several times; an empty one stands for nothing."""
    return tuple(text for text in texts if text)
