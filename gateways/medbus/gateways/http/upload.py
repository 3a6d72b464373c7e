"""A request with its images in one body, multipart/form-data, taken as it comes.

The part `request` is JSON; each part `image` or `mask` is a DICOM file. Only the request is held in memory.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Generic, NamedTuple, TypeVar

from python_multipart.exceptions import FormParserError
from starlette.requests import ClientDisconnect, Request

from medbus.blobs import BlobStore
from medbus.gateways.dicom.dataset import UnreadableDataSet
from medbus.gateways.dicom.part10 import NotDicom
from medbus.gateways.http.enclosed import EnclosedFile
from medbus.gateways.http.errors import Problem
from medbus.gateways.http.form import MEDIA_TYPE, Begun, Ended, Form, Happening, boundary_of
from medbus.schemas.errors import MedbusError
from medbus.schemas.events import Blob

T = TypeVar("T")

REQUEST, IMAGE, MASK = "request", "image", "mask"

_BAD, _UNPROCESSABLE = HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY
_TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of a body.

    Attributes:
        request_bytes: of the request itself, in JSON.
        part_bytes: of an image.
        body_bytes: of all together.
        images: how many images and masks there may be.
        idle_seconds: how long nothing may come.
        seconds: how long all of it may take.
    """

    request_bytes: int = 160 * 1024
    part_bytes: int = 4 * 1024**3
    body_bytes: int = 16 * 1024**3
    images: int = 1000
    idle_seconds: float = 30.0
    seconds: float = 3600.0


class Upload(NamedTuple, Generic[T]):
    """What came: the request as it was read, and the data sets, durable."""

    request: T
    images: tuple[Blob, ...]
    masks: tuple[Blob, ...]


async def receive(
    request: Request, blobs: BlobStore, limits: Limits, read: Callable[[bytes], Awaitable[T]]
) -> Upload[T]:
    """Take a body.

    What came of a body that is refused in the end stays in the blob store, and nothing refers to it.

    Args:
        request: with the body.
        blobs: where data sets are kept.
        limits: of the body.
        read: reads the part `request` as soon as it has come, so that what can't be is refused before images
            come that stand behind it; may raise Problem.

    Raises:
        Problem: the body is malformed or breaks off (400), does not come in time (408), is too large (413);
            a part is none of those that there are, or no DICOM file (422).
        BlobError: the blob store takes nothing.
    """
    boundary = boundary_of(request.headers.get("content-type", ""))
    if not boundary:
        raise Problem(_BAD, f"A body of {MEDIA_TYPE} needs a boundary.")
    parts = _Parts(blobs, limits, read)
    try:
        form = Form(boundary)
        async with asyncio.timeout(limits.seconds):
            async for chunk in _chunks(request, limits):
                for happening in form.feed(chunk):
                    await parts.take(happening)
            if not form.ended:
                raise Problem(_BAD, "The body broke off: its last boundary is missing.")
            return parts.upload()
    except FormParserError as error:
        raise Problem(_BAD, f"The body is no {MEDIA_TYPE}: {error}.") from error
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "The body did not come in time.") from None
    except ClientDisconnect:
        raise Problem(_BAD, "The body broke off.") from None
    finally:
        await parts.abandon()


async def _chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        TimeoutError: nothing came for too long.
        Problem: it is too large.
    """
    stream = aiter(request.stream())
    size = 0
    while True:
        async with asyncio.timeout(limits.idle_seconds):
            chunk = await anext(stream, None)
        if chunk is None:
            return
        size += len(chunk)
        if size > limits.body_bytes:
            raise Problem(_TOO_LARGE, f"The body has more than {limits.body_bytes} bytes. Send it in parts.")
        yield chunk


class _Request:
    """The part with the request."""

    name = label = REQUEST

    def __init__(self, limit: int) -> None:
        self.content = b""
        self._limit = limit

    async def write(self, chunk: bytes) -> None:
        self.content += chunk
        if len(self.content) > self._limit:
            raise Problem(_TOO_LARGE, f"The part {REQUEST} has more than {self._limit} bytes.")


class _Image:
    """A part with an image or a mask."""

    def __init__(self, name: str, label: str, file: EnclosedFile, limit: int) -> None:
        self.name = name
        self._label = label
        self._file = file
        self._limit = limit
        self._size = 0

    async def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._limit:
            raise Problem(_TOO_LARGE, f"The part {self._label} has more than {self._limit} bytes.")
        try:
            await self._file.write(chunk)
        except (NotDicom, UnreadableDataSet) as error:
            raise self._refused(error) from error

    async def finish(self) -> Blob:
        try:
            return await self._file.finish()
        except (NotDicom, UnreadableDataSet) as error:
            raise self._refused(error) from error

    async def abandon(self) -> None:
        await self._file.abandon()

    def _refused(self, error: MedbusError) -> Problem:
        return Problem(_UNPROCESSABLE, f"The part {self._label} can't be read as DICOM. {error.message}")


class _Parts(Generic[T]):
    """Takes the parts, one after another."""

    def __init__(self, blobs: BlobStore, limits: Limits, read: Callable[[bytes], Awaitable[T]]) -> None:
        self._blobs = blobs
        self._limits = limits
        self._read = read
        self._part: _Request | _Image | None = None
        self._request: list[T] = []
        self._blobs_of: dict[str, list[Blob]] = {IMAGE: [], MASK: []}

    async def take(self, happening: Happening) -> None:
        """Take what happens next."""
        if isinstance(happening, Begun):
            self._part = self._begin(happening)
            return
        assert self._part is not None  # noqa: S101
        if isinstance(happening, bytes):
            await self._part.write(happening)
        elif isinstance(happening, Ended):
            await self._end(self._part)
            self._part = None

    async def abandon(self) -> None:
        """Let go of a part that has not come whole."""
        if isinstance(self._part, _Image):
            await self._part.abandon()

    def upload(self) -> Upload[T]:
        """All of it, at the end.

        Raises:
            Problem: there is no request (422).
        """
        if not self._request:
            raise Problem(_UNPROCESSABLE, f"There is no part {REQUEST}, with the request in JSON.")
        return Upload(self._request[0], tuple(self._blobs_of[IMAGE]), tuple(self._blobs_of[MASK]))

    def _begin(self, begun: Begun) -> _Request | _Image:
        name, limits = begun.name, self._limits
        if name == REQUEST:
            if self._request:
                raise Problem(_UNPROCESSABLE, f"There is more than one part {REQUEST}.")
            return _Request(limits.request_bytes)
        if name not in self._blobs_of:
            known = f"{REQUEST}, {IMAGE} and {MASK}"
            raise Problem(_UNPROCESSABLE, f"There is a part {name[:64]!r}; the parts are {known}.")
        if sum(map(len, self._blobs_of.values())) == limits.images:
            raise Problem(
                _TOO_LARGE,
                f"There are more than {limits.images} images. Register them first, and name their series.",
            )
        label = f"{name} {len(self._blobs_of[name]) + 1}"
        if begun.filename:
            label += f" ({begun.filename[:128]!r})"
        return _Image(name, label, EnclosedFile(self._blobs), limits.part_bytes)

    async def _end(self, part: _Request | _Image) -> None:
        if isinstance(part, _Request):
            self._request.append(await self._read(part.content))
        else:
            self._blobs_of[part.name].append(await part.finish())
