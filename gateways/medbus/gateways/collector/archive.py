"""A source that can be asked what it has, and how what is new in it is found."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from medbus.gateways.collector.session import Session
from medbus.gateways.dicom.values import is_uid


class Group(NamedTuple):
    """A study, or a series; with the number of its images, where the source says it."""

    uid: str
    size: int | None


class Offered(NamedTuple):
    """An image that a source has. SOP class and transfer syntaxes are empty where it does not say them."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str = ""
    transfer_syntaxes: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether its identifiers are UIDs: they go into requests and paths."""
        return all(map(is_uid, self[:3])) and (not self.sop_class_uid or is_uid(self.sop_class_uid))


class Archive(Protocol):
    """A source that can be asked. All of it raises SourceFailed."""

    @abstractmethod
    async def studies(self) -> Sequence[Group]:
        """Its studies."""

    @abstractmethod
    async def series(self, study: Group) -> Sequence[Group]:
        """The series of a study; the study itself where images are listed by study."""

    @abstractmethod
    async def images(self, study: Group, series: Group) -> Sequence[Offered]:
        """The images of a series."""


async def search(archive: Archive, session: Session, limit: int) -> list[Offered]:
    """The images that are new and worth trying now, at most `limit`; `session.more` tells of others.

    Studies and series that have as many images as when all of them were known are passed over.

    Raises:
        SourceFailed: the source does not answer as it should.
    """
    memory = session.memory
    found: dict[str, Offered] = {}
    for study in await archive.studies():
        if memory.complete(study.uid, study.size, session.now):
            continue
        quiet = True
        for series in await archive.series(study):
            if session.stopped:
                return []
            if series != study and memory.complete(series.uid, series.size, session.now):
                continue
            images = await archive.images(study, series)
            session.offered += len(images)
            fresh, settled = await _fresh(images, session)
            if settled:
                memory.completed(series.uid, series.size, session.now)
            quiet = quiet and settled
            found.update((each.sop_instance_uid, each) for each in fresh)
            if len(found) >= limit:
                session.more = True
                return list(found.values())[:limit]
        if quiet:
            memory.completed(study.uid, study.size, session.now)
    return list(found.values())


async def _fresh(images: Sequence[Offered], session: Session) -> tuple[list[Offered], bool]:
    """What is new and to be tried now, and whether all is settled: known, or refused for good."""
    fresh: list[Offered] = []
    settled = True
    for image in images:
        uid = image.sop_instance_uid
        if session.memory.lost(uid):
            continue
        if not image.usable:
            session.missed(uid, "its identifiers, as the source gives them, are no UIDs")
            settled = False
        elif await session.known(uid) is None:
            settled = False
            if not session.memory.waits(uid, session.now):
                fresh.append(image)
    return fresh, settled
