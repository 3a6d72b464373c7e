"""`medbus process`: have images processed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medbus.compose.cli import console, gateway
from medbus.compose.cli.gateway import CaOption, TokenFileOption, UrlOption
from medbus.compose.cli.options import HomeOption, JsonOption
from medbus.schemas.errors import SettingsError

if TYPE_CHECKING:
    from medbus.compose.cli.ordering import Order

Uids = list[str] | None
Paths = list[Path] | None


def process(
    type_: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="The type of processing, see --list.")
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="Its parameters, see `medbus process TYPE --explain`."),
    ] = None,
    image: Annotated[
        Uids, typer.Option(metavar="UID...", help="Registered images (SOP Instance UID).")
    ] = None,
    series: Annotated[Uids, typer.Option(metavar="UID...", help="Registered series.")] = None,
    study: Annotated[Uids, typer.Option(metavar="UID...", help="Registered studies.")] = None,
    file: Annotated[
        Paths, typer.Option(metavar="PATH...", help="DICOM files, and folders with them, to send along.")
    ] = None,
    mask_image: Annotated[Uids, typer.Option(metavar="UID...", help="Registered images as masks.")] = None,
    mask_series: Annotated[Uids, typer.Option(metavar="UID...", help="Registered series as masks.")] = None,
    mask_file: Annotated[Paths, typer.Option(metavar="PATH...", help="DICOM files as masks.")] = None,
    to: Annotated[
        Uids, typer.Option(metavar="SUBSCRIBER...", help="Who gets the results; by default yourself.")
    ] = None,
    answer: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="How they get them: fetch (they ask), c-store (at an apparatus), webhook (they are told).",
        ),
    ] = "fetch",
    keep: Annotated[
        str,
        typer.Option(
            metavar="WHICH", help="Images to register: neither, before (those sent), after or both."
        ),
    ] = "neither",
    server: Annotated[
        str | None, typer.Option(metavar="NAME", help="Have it done by this server; else by any.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Wait, and write the results here as DICOM files.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the types of processing.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what TYPE does, and its parameters with units and bounds.")
    ] = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Have images processed: registered ones by their UIDs, or files that are sent along.

    Type and parameters are checked before anything is sent. Files are not registered, unless --keep says so.
    Options that take several values take all words up to the next option or NAME=VALUE. Prints the id of the
    request; waiting may be broken off with Ctrl-C, the processing goes on. Ends with exit code 1 if something
    failed.

    Examples:
        medbus process --list
        medbus process gaussian --explain
        medbus process gaussian sigma=2 --series 1.2.840.1 --out smoothed/
        medbus process mip axis=y thickness=20 --series 1.2.840.1 --to D-hospital --answer c-store
        medbus process subtract --image 1.2.840.2 --mask-file mask.dcm --keep after --wait
        medbus process median width=3 --file scans/ one.dcm --server 500-1 --url http://gateway:8080
    """
    from medbus.compose.cli import explaining

    if list_:
        explaining.list_types(json=json)
        return
    if type_ is None:
        raise SettingsError(
            "Nothing says what is to be done.", "Name a type; `medbus process --list` has them."
        )
    if explain:
        explaining.explain(type_, json=json)
        return
    from medbus.compose.cli import ordering
    from medbus.compose.cli.ordering import Chosen

    order = ordering.Order(
        processing_type=type_,
        parameters=ordering.parameters(words or ()),
        images=Chosen(image or (), series or (), study or (), file or ()),
        masks=Chosen(mask_image or (), mask_series or (), (), mask_file or ()),
        keep=keep,
        answer=answer,
        destinations=to or (),
        server=server,
    )
    ordering.check(order)
    with gateway.opened(url, token_file, ca, home) as opened:
        if not _done(opened, order, wait=wait, out=out, json=json):
            raise SystemExit(console.FAILED)


def _done(opened: gateway.Gateway, order: "Order", *, wait: bool, out: Path | None, json: bool) -> bool:
    """Ask for it, wait where that is wanted, and tell; whether all went well."""
    from medbus.compose.cli import fetching, result, sending

    asked = sending.send(opened, order)
    if not wait and out is None:
        if json:
            console.as_json(asked)
        else:
            console.out.print(asked.id)
            console.err.print(f"See `medbus result show {asked.id}`.", soft_wrap=True)
        return True
    job = fetching.wait(opened, asked.id)
    files = [] if out is None else fetching.fetch(opened, asked.id, out)
    if json:
        console.as_json(job)
    else:
        result.tell(job)
        if out is not None:
            console.out.print(f"{console.counted(len(files), 'file')} in {out}.")
    return job.well
