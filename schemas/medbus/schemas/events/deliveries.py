"""Events of images that left the service."""

from enum import StrEnum
from uuid import UUID

from medbus.schemas.events.base import Event, Int, Long
from medbus.schemas.events.requests import Answer


class Channel(StrEnum):
    """How an image left the service."""

    UNSPECIFIED = "UNSPECIFIED"
    C_GET = "C_GET"
    C_MOVE = "C_MOVE"
    HTTP = "HTTP"
    C_STORE = "C_STORE"


class ImageDelivered(Event):
    """An image reached its recipient."""

    grant_id: UUID
    subscriber: str
    channel: Channel
    destination: str
    study_instance_uid: str
    sop_instance_uid: str
    digest: str
    size: Long
    transfer_syntax_uid: str


class DeliveryFailed(Event):
    """An image did not reach its recipient."""

    grant_id: UUID
    subscriber: str
    channel: Channel
    destination: str
    study_instance_uid: str
    sop_instance_uid: str
    status: Int | None = None
    reason: str


class ResultsAnswered(Event):
    """A destination was given the results of a processing request, or could not be."""

    grant_id: UUID
    subscriber: str
    destination: str
    answer: Answer
    address: str
    delivered: Int
    failed: Int
    attempts: Int
    reason: str = ""
