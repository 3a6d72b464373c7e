"""The HTTP gateway of a service as its subscribers' programs call it, and the options that name it."""

import os
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import IO, Annotated, Any, Self, TypeVar

import msgspec
import typer

from medbus.compose import settings as compose
from medbus.compose.cli import console
from medbus.compose.home import Home, NotRunning
from medbus.compose.kafka.settings import WILDCARDS
from medbus.schemas.errors import MedbusError, SettingsError

T = TypeVar("T")

TOKEN = "MEDBUS_TOKEN"  # noqa: S105 - the name of a variable
SECONDS = 30.0

UrlOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The HTTP gateway, as http://HOST:8080 or https://HOST; by default the one on this home.",
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help=f"File with the bearer token; by default the variable {TOKEN}."),
]
CaOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="CA of the gateway's certificate (PEM), for https.")
]


class Unreachable(MedbusError):
    """The gateway does not answer, or not as a gateway."""


class Refused(MedbusError):
    """The gateway refused.

    Args:
        status: of HTTP.
        content: of the answer: problem details (RFC 9457), or else whatever it is.
    """

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__(*_problem(status, content))
        self.status = status


class Gateway:
    """A connection to the HTTP gateway, under a token. Get one with `opened`.

    Each call raises Unreachable if there is no answer, or one that no gateway gives, and Refused if the
    gateway refused.

    Args:
        url: of the gateway.
        token: the bearer token.
        context: for https.

    Raises:
        SettingsError: the URL is none.
    """

    def __init__(self, url: str, token: str, context: ssl.SSLContext | None = None) -> None:
        import httpx2

        self.url = url.rstrip("/")
        try:
            target = httpx2.URL(self.url)
        except httpx2.InvalidURL:
            target = httpx2.URL("")
        if target.scheme not in {"http", "https"} or not target.host:
            raise SettingsError(f"{url!r} is no URL of a gateway.", "Write http://HOST:PORT.")
        if target.scheme == "http" and not _local(target.host):
            console.err.print("The token goes over the network as it is: use https where others may listen.")
        self._client = httpx2.Client(
            base_url=target,
            headers={"Authorization": f"Bearer {token}"},
            verify=context or True,
            timeout=SECONDS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, expected: type[T], **query: str | int) -> T:
        """What is at a path."""
        return self._call("GET", path, expected, params=query)

    def post(self, path: str, expected: type[T], body: object) -> T:
        """The answer to a body of JSON."""
        content = msgspec.json.encode(body)
        return self._call(
            "POST", path, expected, content=content, headers={"Content-Type": "application/json"}
        )

    def post_files(
        self, path: str, expected: type[T], files: Sequence[tuple[str, tuple[str, bytes | IO[bytes], str]]]
    ) -> T:
        """The answer to a body of multipart/form-data.

        Args:
            path: where.
            expected: class of the answer.
            files: the name of each part, and file name, content and media type; read as they are sent.
        """
        return self._call("POST", path, expected, files=files)

    def delete(self, path: str, expected: type[T]) -> T:
        """The answer to a deletion."""
        return self._call("DELETE", path, expected)

    def download(self, path: str, into: IO[bytes]) -> None:
        """Write what is at a path into a file; it came whole when this returns."""
        import httpx2

        try:
            with self._client.stream("GET", path) as answer:
                if not answer.is_success:
                    raise Refused(answer.status_code, answer.read())
                for chunk in answer.iter_bytes():
                    into.write(chunk)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error

    def _call(self, method: str, path: str, expected: type[T], **options: Any) -> T:
        import httpx2

        try:
            answer: httpx2.Response = self._client.request(method, path, **options)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        if not answer.is_success:
            raise Refused(answer.status_code, answer.content)
        try:
            return msgspec.json.decode(answer.content, type=expected)
        except msgspec.DecodeError as error:
            raise Unreachable(
                f"What answers at {self.url} is no gateway of medbus: {error}.", "Check --url."
            ) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"The gateway at {self.url} does not answer: {error or type(error).__name__}.",
            "Check --url, and that the service is up.",
        )


def opened(
    url: str | None, token_file: Path | None, ca: Path | None = None, home: Path | None = None
) -> Gateway:
    """The gateway that options name.

    Args:
        url: of the gateway; None: of the one that runs on the home.
        token_file: with the token; None: it is in the environment.
        ca: of its certificate.
        home: of the service.

    Raises:
        NotRunning: there is no URL, and no service runs on the home.
        SettingsError: the URL, the token or the CA can't be used.
    """
    return Gateway(url or _here(home), token(token_file), context(ca))


def token(file: Path | None) -> str:
    """The token, from the file or else from the environment.

    Raises:
        SettingsError: there is none, or it can't be one.
    """
    if file is None:
        found = os.environ.get(TOKEN, "")
        where = TOKEN
    else:
        try:
            found = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"The token in {file} can't be read: {error}.", "See `medbus credential issue`."
            ) from error
        where = str(file)
    plain = found.strip()
    if not plain:
        raise SettingsError(
            f"There is no token in {where}.", f"Name a file with --token-file, or set {TOKEN}."
        )
    if not plain.isascii() or not plain.isprintable() or " " in plain:
        raise SettingsError(f"What {where} holds is no token.", "See `medbus credential issue`.")
    return plain


def context(ca: Path | None) -> ssl.SSLContext | None:
    """For https with a CA of its own; None for those of the system.

    Raises:
        SettingsError: it can't be used.
    """
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"The CA in {ca} can't be used: {error}.", "Give a PEM file.") from error


def _here(home: Path | None) -> str:
    folder = compose.load(home=home).home
    try:
        address = Home(folder).status().http
    except NotRunning:
        address = ""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise NotRunning(
            f"No HTTP gateway runs on {folder}.",
            "Name one with --url, or the home of a service that runs here with --home.",
        )
    host = host.strip("[]") or "127.0.0.1"
    host = WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _problem(status: int, content: bytes) -> tuple[str, str]:
    """What was refused and why, and what to do about it; the gateway's own words say that too, mostly."""
    advice = "Try again later." if status >= 500 else ""
    if status == 401:
        advice = "Check the token; the manager issues one with `medbus credential issue`."
    try:
        problem: Any = msgspec.json.decode(content)
    except msgspec.DecodeError:
        problem = None
    if not isinstance(problem, dict):
        return f"The gateway answered with status {status}.", advice or "Check --url."
    said = [str(problem[key]).rstrip(".") for key in ("title", "detail") if problem.get(key)]
    return f"The gateway refused ({status}): {': '.join(said) or 'it does not say why'}.", advice


def _local(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
