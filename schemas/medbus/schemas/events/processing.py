"""Events of image processing."""

from uuid import UUID

from medbus.schemas.events.base import Event, Long


class ProcessingCompleted(Event):
    """All that a processing request asked for is done, as far as it could be done."""

    grant_id: UUID
    subscriber: str
    processing_type: str
    sessions: Long
    images: Long
    bytes: Long
    milliseconds: Long
