"""`medbus activate`: what a subscriber's program calls when it runs for the first time."""

import os
import ssl
from datetime import datetime
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from medbus.compose.cli import console
from medbus.compose.cli.options import JsonOption
from medbus.schemas.errors import MedbusError, SettingsError

TOKEN = "MEDBUS_TOKEN"  # noqa: S105 - the name of a variable
SECONDS = 30.0


class Activated(msgspec.Struct, frozen=True):
    """The answer."""

    subscriber: str
    activated_at: datetime


class NotActivated(MedbusError):
    """The service can't be reached, or it refused."""


def activate(
    url: Annotated[
        str, typer.Option(metavar="URL", help="The HTTP gateway, as http://HOST:8080 or https://HOST.")
    ],
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help=f"File with the bearer token; by default the variable {TOKEN}."),
    ] = None,
    program: Annotated[
        str, typer.Option(metavar="'NAME VERSION'", help="The program that runs for the first time.")
    ] = "",
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CA of the gateway's certificate (PEM), for https.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Ask the service to activate the subscriber whose token this is. Again it changes nothing.

    The manager issues the token with `medbus credential issue`. It is never an argument, where others on the
    machine would see it.

    Examples:
        medbus activate --url http://gateway:8080 --token-file token --program 'viewer 4.2'
        MEDBUS_TOKEN=… medbus activate --url https://gateway --ca ca.pem
    """
    named = program.strip() or f"medbus {version('medbus')}"
    activated = ask(url, token(token_file), named, _context(ca))
    if json:
        console.as_json(activated)
    else:
        console.out.print(
            f"{activated.subscriber} is active since {console.moment(activated.activated_at)} (UTC)."
        )


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


def ask(url: str, token: str, program: str, context: ssl.SSLContext | None = None) -> Activated:
    """Ask a gateway for activation.

    Args:
        url: of the gateway.
        token: the bearer token.
        program: name and version of the program.
        context: for https.

    Raises:
        SettingsError: the URL is none.
        NotActivated: the gateway does not answer, or it refuses; says why.
    """
    import httpx2

    try:
        target = httpx2.URL(url.rstrip("/") + "/activation")
    except httpx2.InvalidURL:
        target = httpx2.URL("")
    if target.scheme not in {"http", "https"} or not target.host:
        raise SettingsError(f"{url!r} is no URL of a gateway.", "Write http://HOST:PORT.")
    if target.scheme == "http" and not _local(target.host):
        console.err.print("The token goes over the network as it is: use https where others may listen.")
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx2.Client(verify=context or True, timeout=SECONDS) as client:
            answer = client.post(target, json={"program": program}, headers=headers)
    except httpx2.HTTPError as error:
        raise NotActivated(
            f"The gateway at {url} does not answer: {error or type(error).__name__}.",
            "Check --url, and that the service is up.",
        ) from error
    if not answer.is_success:
        raise NotActivated(_problem(answer.status_code, answer.content, url), _advice(answer.status_code))
    try:
        return msgspec.json.decode(answer.content, type=Activated)
    except msgspec.DecodeError as error:
        raise NotActivated(
            f"What answers at {url} is no gateway of medbus: {error}.", "Check --url."
        ) from error


def _problem(status: int, content: bytes, url: str) -> str:
    """What the gateway said: problem details (RFC 9457), or else whatever it was."""
    try:
        problem: Any = msgspec.json.decode(content)
    except msgspec.DecodeError:
        problem = None
    if not isinstance(problem, dict):
        return f"{url} answered with status {status}."
    said = [str(problem[key]).rstrip(".") for key in ("title", "detail") if problem.get(key)]
    return f"The gateway refused ({status}): {': '.join(said) or 'it does not say why'}."


def _advice(status: int) -> str:
    match status:
        case 401 | 403:
            return "Check the token; the manager issues one with `medbus credential issue`."
        case 404 | 405:
            return "Check --url."
        case _ if status >= 500:
            return "Try again later."
    return ""


def _local(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _context(ca: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"The CA in {ca} can't be used: {error}.", "Give a PEM file.") from error
