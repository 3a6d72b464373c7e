"""Collecting by DICOMweb: QIDO-RS for what is new, then WADO-RS, image by image (PS3.18 10.4, 10.6)."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx2
import msgspec

from medbus.gateways.collector.archive import Group, Offered, search
from medbus.gateways.collector.errors import SourceFailed
from medbus.gateways.collector.multipart import FirstPart, Malformed, boundary_of
from medbus.gateways.collector.query import number, since
from medbus.gateways.collector.session import Session
from medbus.gateways.collector.settings import Settings
from medbus.gateways.collector.source import address_of
from medbus.gateways.dicom.part10 import NotDicom, Part10Splitter
from medbus.gateways.dicom.storing import StoreRequest
from medbus.gateways.dicom.tls import client_context
from medbus.gateways.dicom.values import is_uid
from medbus.schemas.errors import MedbusError, SettingsError

PAGE = 500
"""Entities that one query asks for."""

MOST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer to a query; a page is far less."""

MOST_PAGES = 2000
"""A source that always has another page is no good source."""

STUDY, SERIES, INSTANCE, SOP_CLASS = "0020000D", "0020000E", "00080018", "00080016"
STUDY_INSTANCES = "00201208"
"""Number of Study Related Instances."""

_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'

_rows = msgspec.json.Decoder(list[dict[str, Any]])


class NotGiven(MedbusError):
    """The source does not give one image, or not whole; others it may give."""


class DicomWeb:
    """A source that speaks DICOMweb.

    Args:
        client: asks it.
        root: its URL, without a slash at the end.
        study_days: only studies of so many days back; None for all.
    """

    def __init__(self, client: httpx2.AsyncClient, root: str, study_days: int | None) -> None:
        self._client = client
        self._root = root
        self._study_days = study_days

    async def studies(self) -> Sequence[Group]:
        asked = {"includefield": STUDY_INSTANCES}
        if days := since(self._study_days):
            asked["StudyDate"] = days
        rows = await self._all("/studies", asked, (STUDY, STUDY_INSTANCES))
        return [Group(uid, number(count)) for uid, count in rows if is_uid(uid)]

    async def series(self, study: Group) -> Sequence[Group]:
        """The study itself: its instances are listed in one go."""
        return (study,)

    async def images(self, study: Group, series: Group) -> Sequence[Offered]:
        kept = (INSTANCE, SERIES, SOP_CLASS)
        rows = await self._all(f"/studies/{series.uid}/instances", {"includefield": SERIES}, kept)
        return [Offered(study.uid, within, uid, sop_class) for uid, within, sop_class in rows]

    @asynccontextmanager
    async def image(self, image: Offered) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """The bytes of an image as a DICOM file, in the transfer syntax that the source has it in.

        Raises:
            NotGiven: the source does not give it, or not whole.
            Malformed: what it gives is not what was asked for.
            SourceFailed: the source is gone.
        """
        begun = False
        study, series, instance = image[:3]
        path = f"/studies/{study}/series/{series}/instances/{instance}"
        try:
            async with self._client.stream(
                "GET", self._root + path, headers={"Accept": _AS_STORED}
            ) as answer:
                if answer.status_code != 200:
                    self._no_redirect(answer)
                    raise NotGiven(f"the source answered {answer.status_code} {answer.reason_phrase}")
                begun = True
                yield _contents(answer)
        except httpx2.HTTPError as error:
            if begun:
                raise NotGiven(f"it broke off: {error or type(error).__name__}") from error
            raise self._gone(error) from error

    async def _all(
        self, path: str, asked: Mapping[str, str], kept: Sequence[str]
    ) -> Collection[tuple[str, ...]]:
        """Some attributes of all entities of a query, page by page; the first is the unique key.

        Servers may give less than a page, or ignore the offset: the end is where nothing new comes.
        """
        found: dict[str, tuple[str, ...]] = {}
        for _ in range(MOST_PAGES):
            page = await self._page(path, {**asked, "limit": str(PAGE), "offset": str(len(found))})
            before = len(found)
            for row in page:
                values = tuple(_text(row, tag) for tag in kept)
                if values[0]:
                    found.setdefault(values[0], values)
            if len(found) == before:
                return found.values()
        raise SourceFailed(f"{self._root}{path} has more than {MOST_PAGES} pages of answers.")

    async def _page(self, path: str, asked: Mapping[str, str]) -> list[dict[str, Any]]:
        url = self._root + path
        body = bytearray()
        try:
            headers = {"Accept": "application/dicom+json"}
            async with self._client.stream("GET", url, params=dict(asked), headers=headers) as answer:
                if answer.status_code == 204:
                    return []
                if answer.status_code != 200:
                    self._no_redirect(answer)
                    raise SourceFailed(
                        f"{url} answered {answer.status_code} {answer.reason_phrase}.",
                        "Is it the root of a DICOMweb service with QIDO-RS, and does it let us in?",
                    )
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MOST_ANSWER:
                        raise SourceFailed(f"An answer of {url} has more than {MOST_ANSWER} bytes.")
        except httpx2.HTTPError as error:
            raise self._gone(error) from error
        if not body.strip():
            return []
        try:
            return _rows.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SourceFailed(
                f"{url} answered something else than DICOM JSON: {error}.",
                "Is it the root of a DICOMweb service with QIDO-RS?",
            ) from error

    def _no_redirect(self, answer: httpx2.Response) -> None:
        if answer.is_redirect:
            raise SourceFailed(
                f"{self._root} sends us on to {answer.headers.get('location', '')[:200]!r}.",
                "If that is right, enter it in the contract; no other place is asked.",
            )

    def _gone(self, error: httpx2.HTTPError) -> SourceFailed:
        said = str(error) or type(error).__name__
        return SourceFailed(f"{self._root} does not answer: {said}.", "Is it running? Is the URL right?")


async def fetch(session: Session, settings: Settings) -> None:
    """Fetch what is new.

    Raises:
        SourceFailed: the source does not do its part, or nothing can be registered.
    """
    url = _root(session.source.collection.address)
    session.address = await address_of(url.host, session.source.terms.networks)
    async with _client(settings) as client:
        archive = DicomWeb(client, str(url).rstrip("/"), settings.study_days)
        new = await search(archive, session, settings.images_per_look)
        session.new += len(new)
        for image in new:
            if session.stopped:
                return
            try:
                async with archive.image(image) as body, aclosing(body):
                    await _take(session, image, body)
            except (Malformed, NotGiven, NotDicom) as error:
                session.missed(image.sop_instance_uid, error.message)


def _root(address: str) -> httpx2.URL:
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL as error:
        raise SourceFailed(f"{address!r} is no URL: {error}.", "Correct it in the contract.") from error
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise SourceFailed(
            f"{address!r} is no root of a DICOMweb service.", "Write it as https://HOST/dicom-web."
        )
    if url.userinfo:
        raise SourceFailed(
            f"The URL of {url.host} holds a password, and contracts are on the log.",
            "Take it out, and put it into the collector's netrc file.",
        )
    return url


@asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    verify: ssl.SSLContext | bool = True
    if settings.tls_outgoing is not None:
        verify = client_context(settings.tls_outgoing)
        verify.load_default_certs()
    try:
        auth = None if settings.netrc is None else httpx2.NetRCAuth(str(settings.netrc))
    except Exception as error:  # netrc raises whatever it meets in the file
        raise SettingsError(
            f"{settings.netrc} can't be used: {error}.", "Write it as netrc files are."
        ) from error
    async with httpx2.AsyncClient(
        verify=verify,
        auth=auth,
        timeout=settings.timeout,
        follow_redirects=False,
        trust_env=False,  # no proxy: the address that was judged is the one that is asked
        headers={"Accept-Encoding": "identity"},
    ) as client:
        yield client


async def _contents(answer: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The bytes of the one part, or of the body where it is the image itself."""
    boundary = boundary_of(answer.headers.get("content-type", ""))
    if boundary is None:
        async for chunk in answer.aiter_bytes():
            yield chunk
        return
    part = FirstPart(boundary)
    async for chunk in answer.aiter_bytes():
        if given := part.feed(chunk):
            yield given
        if part.done:
            return
    part.finish()


async def _take(session: Session, image: Offered, body: AsyncIterator[bytes]) -> None:
    """Register the data set of a DICOM file. Raises NotDicom."""
    splitter = Part10Splitter()
    first = b""
    async for chunk in body:
        first = splitter.feed(chunk)
        if splitter.meta is not None:
            break
    meta = splitter.finish()

    async def data_set() -> AsyncIterator[bytes]:
        yield first
        async for chunk in body:
            yield chunk

    request = StoreRequest(
        sop_class_uid=image.sop_class_uid or meta.media_storage_sop_class_uid,
        sop_instance_uid=image.sop_instance_uid,
        transfer_syntax_uid=meta.transfer_syntax_uid,
    )
    await session.take(request, data_set())


def _text(row: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute in DICOM JSON (PS3.18 F.2); empty where it has none."""
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""
