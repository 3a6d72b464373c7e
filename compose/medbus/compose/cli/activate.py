"""`medbus activate`: what a subscriber's program calls when it runs for the first time."""

from datetime import datetime
from importlib.metadata import version
from typing import Annotated

import msgspec
import typer

from medbus.compose.cli import console, gateway
from medbus.compose.cli.gateway import CaOption, TokenFileOption, UrlOption
from medbus.compose.cli.options import HomeOption, JsonOption


class Activated(msgspec.Struct, frozen=True):
    """The answer."""

    subscriber: str
    activated_at: datetime


def activate(
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    program: Annotated[
        str, typer.Option(metavar="'NAME VERSION'", help="The program that runs for the first time.")
    ] = "",
    ca: CaOption = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Ask the service to activate the subscriber whose token this is. Again it changes nothing.

    The manager issues the token with `medbus credential issue`. It is never an argument, where others on the
    machine would see it.

    Examples:
        medbus activate --url http://gateway:8080 --token-file token --program 'viewer 4.2'
        MEDBUS_TOKEN=… medbus activate --url https://gateway --ca ca.pem
    """
    named = program.strip() or f"medbus {version('medbus')}"
    with gateway.opened(url, token_file, ca, home) as opened:
        activated = opened.post("/activation", Activated, {"program": named})
    if json:
        console.as_json(activated)
    else:
        console.out.print(
            f"{activated.subscriber} is active since {console.moment(activated.activated_at)} (UTC)."
        )
