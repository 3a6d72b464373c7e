"""What the catalog knows of one image."""

from typing import Self

from medbus.bus import Record
from medbus.schemas.events import Blob, ImageRegistered, Instance, Patient, Series, Study, Value

Order = tuple[int, int, int]
"""Arrival in milliseconds, partition and offset: an order among all images that everybody agrees on. Within a
study, which is in one partition, offsets alone decide."""


class Registration(Value):
    """An ImageRegistered event with its place in the log, as far as the catalog needs it."""

    registered_at: int
    partition: int
    offset: int
    registrant: str
    apparatus_id: str | None
    patient: Patient
    study: Study
    series: Series
    instance: Instance
    blob: Blob

    @classmethod
    def of(cls, record: Record, event: ImageRegistered) -> Self:
        """The registration in a record."""
        (_, partition), offset = record.position
        return cls(
            registered_at=round(record.timestamp.timestamp() * 1000),
            partition=partition,
            offset=offset,
            registrant=event.registrant,
            apparatus_id=event.apparatus_id,
            patient=event.patient,
            study=event.study,
            series=event.series,
            instance=event.instance,
            blob=event.blob,
        )

    @property
    def order(self) -> Order:
        """Its place among all images."""
        return self.registered_at, self.partition, self.offset
