"""Sends a request for processing, with the files that belong to it."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from medbus.compose.cli import console
from medbus.compose.cli.gateway import Gateway
from medbus.compose.cli.job import Asked
from medbus.compose.cli.ordering import Order
from medbus.gateways.dicom.client import find_files
from medbus.schemas.errors import MedbusError

MEDIA_TYPE = "application/dicom"


def send(gateway: Gateway, order: Order) -> Asked:
    """Ask for it. Files are read as they are sent, under a progress bar.

    Raises:
        NotDicom: a file is none.
        MedbusError: there are no files where some should be.
        Refused, Unreachable: the gateway refuses, or does not answer.
    """
    document = msgspec.json.encode(order.document())
    files = [
        *(("image", path) for path in _dicom_files(order.images.files)),
        *(("mask", path) for path in _dicom_files(order.masks.files)),
    ]
    if not files:
        return gateway.post("/processing", Asked, order.document())
    with console.progress() as bar:
        task = bar.add_task("sending", total=len(files), note="")

        def content(path: Path) -> IO[bytes]:
            return cast(IO[bytes], Sent(path, partial(bar.advance, task)))

        return gateway.post_files(
            "/processing",
            Asked,
            [
                ("request", ("request.json", document, "application/json")),
                *((name, (path.name, content(path), MEDIA_TYPE)) for name, path in files),
            ],
        )


class Sent(io.RawIOBase):
    """A file that is open only while it is read: however many there are, one is open at a time.

    Args:
        path: of the file.
        done: called when it was read to its end.
    """

    def __init__(self, path: Path, done: Callable[[], None]) -> None:
        super().__init__()
        self._path = path
        self._done = done
        self._size = path.stat().st_size
        self._position = 0
        self._file: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        self._let_go()
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._file is None:
            self._file = self._path.open("rb")
            self._file.seek(self._position)
        # No more than was said at first, should the file grow meanwhile.
        data = self._file.read(max(0, min(len(buffer), self._size - self._position)))
        buffer[: len(data)] = data
        self._position += len(data)
        if not data:
            self._let_go()
            self._done()
        return len(data)

    def close(self) -> None:
        self._let_go()
        super().close()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _dicom_files(paths: Sequence[Path]) -> list[Path]:
    """The DICOM files among files and in folders.

    Raises:
        NotDicom: a file that is named is none.
        MedbusError: a path does not exist, or there are none.
    """
    found = [each.path for each in find_files(*paths)]
    if paths and not found:
        raise MedbusError(f"There are no DICOM files in {', '.join(map(str, paths))}.", "Check the path.")
    return found
