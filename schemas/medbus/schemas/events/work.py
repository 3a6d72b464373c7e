"""Work for processing servers."""

from medbus.schemas.events.base import Blob, Int
from medbus.schemas.events.processing import ProcessingEvent


class ItemPlanned(ProcessingEvent):
    """A part of a processing request, to be done by one server."""

    item: Int
    slot: Int
    server: str | None = None
    identity: str
    processing_type: str
    version: Int
    parameters: dict[str, str]
    images: tuple[Blob, ...]
    masks: tuple[Blob, ...] = ()
