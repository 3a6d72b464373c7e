"""Events of medical software."""

from uuid import UUID

from medbus.schemas.events.base import Event


class SoftwareRun(Event):
    """Software ran."""

    grant_id: UUID
    subscriber: str
    apparatus_id: str
    software_id: str
    version: str
    digest: str
