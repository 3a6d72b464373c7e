"""Events that ask for something; each is answered by one decision. The request's id is its event id."""

from enum import StrEnum
from uuid import UUID

from medbus.schemas.events.base import Blob, Event, Int, Long, Value


class Evidence(Value):
    """What a requester showed of itself at the edge: never a secret, only digests of them."""

    calling_ae_title: str | None = None
    called_ae_title: str | None = None
    address: str
    certificate: str | None = None
    token: str | None = None


class Request(Event):
    """What all requests have."""

    evidence: Evidence

    @property
    def request_id(self) -> UUID:
        return self.meta.event_id


class VerificationRequested(Request):
    """A peer wants to know whether the service is there (C-ECHO)."""


class RegistrationRequested(Request):
    """A peer wants to register images in this conversation."""

    sop_class_uids: tuple[str, ...] = ()


class QueryRequested(Request):
    """A peer wants to search the catalog, and may then ask for deliveries, in this conversation."""

    sop_class_uids: tuple[str, ...] = ()


class DeliveryRequested(Request):
    """A peer wants images of a study; patients, registrants and modalities are what the catalog names."""

    destination: str | None = None
    study_instance_uid: str
    sop_instance_uids: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    registrants: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()


class Keep(StrEnum):
    """Which images of a processing request are registered."""

    UNSPECIFIED = "UNSPECIFIED"
    NEITHER = "NEITHER"
    BEFORE = "BEFORE"
    AFTER = "AFTER"
    BOTH = "BOTH"


class Answer(StrEnum):
    """How the results of a processing request reach their destinations."""

    UNSPECIFIED = "UNSPECIFIED"
    FETCH = "FETCH"
    C_STORE = "C_STORE"
    WEBHOOK = "WEBHOOK"


class Selection(Value):
    """Images to process; what each field names is taken together."""

    sop_instance_uids: tuple[str, ...] = ()
    series_instance_uids: tuple[str, ...] = ()
    study_instance_uids: tuple[str, ...] = ()
    enclosed: tuple[Blob, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it names nothing."""
        return not (
            self.sop_instance_uids or self.series_instance_uids or self.study_instance_uids or self.enclosed
        )


class ProcessingRequested(Request):
    """A peer wants images processed."""

    processing_type: str
    parameters: dict[str, str]
    images: Selection
    masks: Selection = Selection()
    keep: Keep
    answer: Answer
    destinations: tuple[str, ...] = ()
    server: str | None = None


class ResultRequested(Request):
    """A peer wants to see how far a processing request has come, or to fetch its results."""

    processing_id: UUID


class CancellationRequested(Request):
    """A peer wants a processing request to be ended."""

    processing_id: UUID


class PrintFrame(Value):
    """One image on a sheet of film: place, size in printer pixels, image and frame."""

    position: Int
    columns: Int
    rows: Int
    sop_instance_uid: str
    frame_number: Int


class PrintRequested(Request):
    """A peer sends format information to a hard-copy device."""

    device: str
    film_size: str
    copies: Int
    frames: tuple[PrintFrame, ...]


class SoftwareReleaseRequested(Request):
    """A vendor wants to release a version."""

    software_id: str
    version: str
    channel: str
    digest: str
    size: Long


class SoftwareRequested(Request):
    """An apparatus wants software."""

    software_id: str
    apparatus_id: str
    installed_version: str | None = None


class ActivationRequested(Request):
    """A subscriber's program runs for the first time and asks to be added."""

    program: str


class AccountRequested(Request):
    """A peer wants to see an account: its fees, invoices, payments and requests."""

    account: str | None = None
