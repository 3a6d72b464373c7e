"""Collecting from a watched folder: DICOM files that have come to rest in it, or below it."""

import logging
import os
import stat
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from medbus.gateways.collector.errors import SourceFailed
from medbus.gateways.collector.memory import Memory
from medbus.gateways.collector.session import Session
from medbus.gateways.collector.settings import Settings
from medbus.gateways.collector.source import LOOPBACK, address_of
from medbus.gateways.collector.thread import in_thread
from medbus.gateways.dicom.client.files import DicomFile, open_file
from medbus.gateways.dicom.part10 import DicomdirRefused, NotDicom
from medbus.gateways.dicom.storing import StoreRequest

log = logging.getLogger(__name__)

_CHUNK = 1024 * 1024


class Sighting(NamedTuple):
    """A file as it was seen: size in bytes, time of its last change in nanoseconds."""

    path: str
    size: int
    modified: int


class Changed(Exception):
    """A file is no longer what it was seen as."""


class Candidates(NamedTuple):
    """What is in a folder: files to be looked into, how many there are in all, and whether more wait."""

    files: list[Sighting]
    seen: int
    more: bool


async def read(session: Session, settings: Settings) -> None:
    """Register what has come to rest in the folder.

    A file that is no DICOM file is told of once. The address that the sender is judged by is that of the
    apparatus, or this machine's loopback address where the contract does not say it.

    Raises:
        SourceFailed: there is no such folder, or nothing can be registered.
    """
    source = session.source
    root = Path(source.collection.address)
    if not root.is_absolute():
        raise SourceFailed(f"The folder {str(root)!r} is no absolute path.", "Correct it in the contract.")
    session.address = await address_of(source.apparatus.host or LOOPBACK, source.terms.networks)
    try:
        found = await in_thread(
            partial(candidates, root, session.memory, session.now, settings.images_per_look)
        )
    except OSError as error:
        raise SourceFailed(
            f"The folder {root} can't be read: {error.strerror}.", "Does it exist on this machine?"
        ) from error
    session.offered, session.more = found.seen, found.more
    if not found.files:
        return
    # What is being written still changes meanwhile.
    await session.sleep(settings.settle_seconds)
    for each in found.files:
        if session.stopped:
            return
        await _file(session, root, each)


def candidates(root: Path, memory: Memory, now: float, limit: int) -> Candidates:
    """The files that are not done with and to be tried now, at most `limit`.

    Raises:
        OSError: the folder itself can't be read.
    """
    files: list[Sighting] = []
    still: set[int] = set()
    seen, more = 0, False
    for each in walk(root):
        seen += 1
        if hash(each) in memory.files:
            still.add(hash(each))
        elif memory.waits(each.path, now):
            continue
        elif len(files) < limit:
            files.append(each)
        else:
            more = True
    memory.files = still  # files that are gone are forgotten
    return Candidates(files, seen, more)


def walk(root: Path) -> Iterator[Sighting]:
    """All regular files of a folder and the folders in it, by name; no symbolic link is followed.

    Raises:
        OSError: the folder itself can't be read. Others are passed over.
    """
    folders = [str(root)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda each: each.name)
        except OSError as error:
            if folder == str(root):
                raise
            log.warning("%s is passed over: %s", folder, error.strerror)
            continue
        for entry in listed:
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    yield Sighting(entry.path, status.st_size, status.st_mtime_ns)
            except OSError:  # it went away meanwhile
                continue


async def _file(session: Session, root: Path, seen: Sighting) -> None:
    try:
        opened = await in_thread(partial(_opened, root, seen))
    except DicomdirRefused:
        session.memory.files.add(hash(seen))
        return
    except NotDicom as error:
        session.memory.files.add(hash(seen))
        log.info("%s: %s is passed over: %s", session.source, seen.path, error.message)
        return
    except Changed:
        return  # the next look sees it anew
    except OSError as error:
        session.missed(seen.path, error.strerror or str(error))
        return
    file, image = opened
    try:
        await _register(session, seen, file, image)
    finally:
        file.close()


async def _register(session: Session, seen: Sighting, file: BinaryIO, image: DicomFile) -> None:
    uid = image.sop_instance_uid
    known = await session.known(uid)
    # Of another size it is another encoding, or other contents under the same UID: that has to be told.
    if known is None or known.size != image.size:
        if session.memory.waits(uid, session.now):
            if session.memory.lost(uid):
                session.memory.files.add(hash(seen))
            return
        session.new += 1
        request = StoreRequest(
            sop_class_uid=image.sop_class_uid,
            sop_instance_uid=uid,
            transfer_syntax_uid=image.transfer_syntax_uid,
        )
        try:
            await session.take(request, _chunks(file, image.offset, seen))
        except Changed:
            session.new -= 1
            return
        except OSError as error:
            session.missed(seen.path, error.strerror or str(error))
            return
        if session.memory.waits(uid, session.now) and not session.memory.lost(uid):
            return
    session.memory.files.add(hash(seen))


def _opened(root: Path, seen: Sighting) -> tuple[BinaryIO, DicomFile]:
    """Open a file that is as it was seen, and lies in the folder.

    Raises:
        Changed: it is not, or does not.
        NotDicom: it is no DICOM file.
        OSError: it can't be read.
    """
    path = Path(seen.path)
    if not path.resolve().is_relative_to(root.resolve()):
        raise Changed
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb", buffering=0)
    try:
        _check(file, seen)
        return file, open_file(path)
    except BaseException:
        file.close()
        raise


def _check(file: BinaryIO, seen: Sighting) -> None:
    status = os.fstat(file.fileno())
    now = (status.st_size, status.st_mtime_ns)
    if not stat.S_ISREG(status.st_mode) or now != (seen.size, seen.modified):
        raise Changed


async def _chunks(file: BinaryIO, offset: int, seen: Sighting) -> AsyncIterator[bytes]:
    """The data set. Raises Changed at the end if the file changed while it was read."""
    file.seek(offset)
    while chunk := await in_thread(partial(file.read, _CHUNK)):
        yield chunk
    _check(file, seen)
