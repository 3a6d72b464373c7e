"""Webhooks: a signed announcement is posted to the address in the destination's contract.

Done is what is answered with 2xx. 410 means that nobody wants it any more. Everything else is tried again.
Redirects are not followed, so that the secret's use does not wander; the address must be https, but on this
machine; and of the answer no more than a few hundred bytes are read.
"""

import asyncio
import logging
import ssl
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx2

from medbus.gateways.grants import Clock
from medbus.gateways.http.signature import HEADER, sign
from medbus.gateways.results.announcement import MOST_RESULTS, announcement
from medbus.gateways.results.contracts import Contracts
from medbus.gateways.results.errand import Away, Errand, Impossible, Unfinished
from medbus.projections.processing import ProcessingReader
from medbus.schemas.errors import SettingsError
from medbus.schemas.webhook import secret

log = logging.getLogger(__name__)

LARGEST_ANSWER: Final = 512
"""Bytes of an answer's body that are looked at: for the log."""

_CONNECTIONS: Final = 100
_LONGEST_SAID: Final = 120


class Posting(AbstractAsyncContextManager["Posting"]):
    """Posts announcements.

    Args:
        processing: the processing catalog.
        contracts: of the destinations.
        key: of the installation, which the secrets come from; without it nothing is posted.
        roots: PEM file with the roots of receivers; by default those of the system.
        timeout: seconds for a whole webhook.
        clock: the time.

    Raises:
        SettingsError: the roots can't be used.
    """

    def __init__(
        self,
        *,
        processing: ProcessingReader,
        contracts: Contracts,
        key: bytes | None,
        roots: Path | None,
        timeout: float,
        clock: Clock,
    ) -> None:
        self._processing = processing
        self._contracts = contracts
        self._key = key
        self._timeout = timeout
        self._clock = clock
        self._client = httpx2.AsyncClient(
            verify=_context(roots),
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,  # neither proxies nor credentials that happen to be in the environment
            limits=httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0),
            headers={"User-Agent": "medbus"},
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def attempt(self, errand: Errand) -> None:
        """Post it. Errors as `Means`."""
        terms = await self._contracts.terms(errand)
        url = address(terms.webhook)
        errand.address = str(url)
        if self._key is None:
            raise Unfinished("no key for webhooks is set")
        body = await self._body(errand)
        headers = {
            "Content-Type": "application/json",
            HEADER: sign(secret(self._key, errand.destination), body, self._clock()),
        }
        self._contracts.check(errand)
        status, said = await self._post(url, body, headers)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            errand.delivered, errand.failed = 1, 0
            return
        reason = f"the receiver answered {status} {said}".rstrip()
        if status == HTTPStatus.GONE:
            raise Impossible(reason)
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            raise Away(reason)
        raise Unfinished(reason)

    async def give_up(self, errand: Errand, reason: str) -> None:
        """The announcement did not arrive."""
        log.info("webhook of %s to %s given up: %s", errand.request_id, errand.destination, reason)
        errand.delivered, errand.failed = 0, 1

    async def _body(self, errand: Errand) -> bytes:
        job = errand.job
        return announcement(
            job,
            await self._processing.results(job.request_id, limit=MOST_RESULTS),
            answer_id=errand.event_id("answered"),
            sender=errand.grant.subscriber,
            destination=errand.destination,
        )

    async def _post(self, url: httpx2.URL, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """Status and the beginning of the body."""
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", url, content=body, headers=headers) as response,
            ):
                return response.status_code, await _beginning(response)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Away(f"{url.host} does not answer: {str(error)[:_LONGEST_SAID]}") from error
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise Unfinished(f"{url.host} did not answer within {self._timeout:g} s") from error
        except httpx2.HTTPError as error:
            raise Unfinished(f"{url.host}: {type(error).__name__} {str(error)[:_LONGEST_SAID]}") from error


def address(webhook: str | None) -> httpx2.URL:
    """The address of a contract's webhook.

    Raises:
        Impossible: there is none, or it is one that must not be posted to.
    """
    if not webhook:
        raise Impossible("the contract names no webhook")
    try:
        url = httpx2.URL(webhook)
    except httpx2.InvalidURL as error:
        raise Impossible(f"the contract's webhook is no URL: {error}") from error
    if not url.host or not (url.scheme == "https" or (url.scheme == "http" and _on_this_machine(url.host))):
        raise Impossible(f"the contract's webhook {webhook[:_LONGEST_SAID]!r} is not https")
    return url


def _on_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _beginning(response: httpx2.Response) -> str:
    """Of an answer's body, fit for a log. A body that breaks off says nothing against the status."""
    if response.is_success:
        return ""
    read = b""
    try:
        async for chunk in response.aiter_raw():
            read += chunk[:LARGEST_ANSWER]
            if len(read) >= LARGEST_ANSWER:
                break
    except httpx2.HTTPError:
        pass
    text = read[:LARGEST_ANSWER].decode("utf-8", "replace")
    return "".join(each if each.isprintable() else " " for each in text)[:_LONGEST_SAID]


def _context(roots: Path | None) -> ssl.SSLContext:
    try:
        context = (
            httpx2.create_ssl_context() if roots is None else ssl.create_default_context(cafile=str(roots))
        )
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"The roots of webhooks in {roots} can't be used: {error}.", "Check that the file is PEM."
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
