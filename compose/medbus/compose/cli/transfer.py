"""`medbus send` and `medbus fetch`: images in and out over DICOM."""

import ssl
from pathlib import Path
from typing import Annotated

import typer

from medbus.compose import settings as compose
from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption
from medbus.compose.home import Home
from medbus.gateways.dicom.client import DicomFile, Fetched, Peer, Sent, find_files
from medbus.gateways.dicom.client import fetch as fetch_images
from medbus.gateways.dicom.client import send as send_files
from medbus.schemas.errors import MedbusError, SettingsError

CallingOption = Annotated[
    str, typer.Option("--as", metavar="AET", help="AE title to call from; a contract must have it.")
]
ToOption = Annotated[
    str | None,
    typer.Option("--to", metavar="AET@HOST:PORT", help="The gateway; by default the one on this home."),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option("--certificate", metavar="FILE", help="Client certificate and key (PEM), for TLS."),
]
CaOption = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="CA of the gateway's certificate (PEM); turns TLS on."),
]


def send(
    paths: Annotated[
        list[Path], typer.Argument(help="DICOM files, and folders with them.", metavar="PATH...")
    ],
    calling: CallingOption,
    to: ToOption = None,
    certificate: CertificateOption = None,
    ca: CaOption = None,
    home: HomeOption = None,
) -> None:
    """Register images: send DICOM files to the gateway, each exactly as it is.

    Ends with exit code 1 if an image was not registered, and says why.

    Examples:
        medbus send --as A_CT1 scans/ more/one.dcm
        medbus send --as A_CT1 --to MEDBUS@gateway:11112 --ca ca.pem --certificate ct1.pem scans/
    """
    files = find_files(*paths)
    if not files:
        raise MedbusError(f"There are no DICOM files in {', '.join(map(str, paths))}.", "Check the path.")
    sent = console.run(send_with_progress(files, peer(calling, to, home, certificate, ca)))
    refused = [each for each in sent if not each.stored]
    if refused:
        console.table("Not registered", ("file", "why"), [(each.file.path, why(each)) for each in refused])
    size = sum(each.file.size for each in sent if each.stored)
    console.out.print(
        f"{len(sent) - len(refused)} of {len(files)} images registered, {console.bytes_text(size)}."
    )
    if len(sent) - len(refused) < len(files):
        raise SystemExit(console.FAILED)


def fetch(
    calling: CallingOption,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; made if need be.")],
    patient: Annotated[str, typer.Option(help="All images of this patient id.")] = "",
    study: Annotated[str, typer.Option(help="All images of this study (UID).")] = "",
    series: Annotated[str, typer.Option(help="All images of this series (UID).")] = "",
    image: Annotated[str, typer.Option(help="This image (SOP Instance UID).")] = "",
    to: ToOption = None,
    certificate: CertificateOption = None,
    ca: CaOption = None,
    home: HomeOption = None,
) -> None:
    """Fetch images from the gateway into files, each exactly as it was registered.

    Ends with exit code 1 if an image did not come, and says why.

    Examples:
        medbus fetch --as D_WS1 --patient 4711 --out images/
        medbus fetch --as D_WS1 --study 1.2.840.1 --out images/
    """
    source = peer(calling, to, home, certificate, ca)
    keys = {
        "patient_id": patient,
        "study_instance_uid": study,
        "series_instance_uid": series,
        "sop_instance_uid": image,
    }
    fetched = console.run(fetch_with_progress(source, out, keys))
    failed = [each for each in fetched if each.path is None]
    if failed:
        console.table(
            "Not fetched", ("SOP Instance UID", "why"), [(f.sop_instance_uid, f.error) for f in failed]
        )
    size = sum(each.size for each in fetched)
    console.out.print(
        f"{len(fetched) - len(failed)} of {len(fetched)} images fetched, {console.bytes_text(size)}."
    )
    if failed or not fetched:
        raise SystemExit(console.FAILED)


def peer(
    calling: str, to: str | None, home: Path | None, certificate: Path | None = None, ca: Path | None = None
) -> Peer:
    """The gateway to talk to.

    Raises:
        SettingsError: the address is not written as AET@HOST:PORT, or a certificate can't be used.
        NotRunning: no address was given and no service runs on the home.
    """
    tls = _tls(certificate, ca)
    if to is None:
        running = Home(compose.load(home=home).home).status()
        title, address = running.ae_title, running.dicom
    else:
        title, _, address = to.rpartition("@")
    host, _, port = address.rpartition(":")
    if not title or not host or not port.isdecimal():
        raise SettingsError(
            f"{to!r} names no DICOM gateway.", "Write AET@HOST:PORT, as MEDBUS@127.0.0.1:11112."
        )
    return Peer(host=host.strip("[]"), port=int(port), ae_title=title, calling=calling, tls=tls)


def why(sent: Sent) -> str:
    """Why a file was not stored, for people."""
    if sent.outcome is None:
        return sent.error
    return f"{sent.outcome.code:04X}H {sent.outcome.comment}".rstrip()


async def send_with_progress(files: list[DicomFile], to: Peer) -> list[Sent]:
    """Send files under a progress bar."""
    with console.progress() as bar:
        task = bar.add_task("sending", total=len(files), note="")

        def tell(sent: Sent) -> None:
            bar.update(task, advance=1, note=sent.file.path.name)

        return await send_files(files, to, progress=tell)


async def fetch_with_progress(source: Peer, out: Path, keys: dict[str, str]) -> list[Fetched]:
    """Fetch images under a progress bar."""
    with console.progress() as bar:
        task = bar.add_task("fetching", total=None, note="")

        def tell(fetched: Fetched) -> None:
            bar.update(task, advance=1, total=fetched.total, note=fetched.sop_instance_uid)

        return await fetch_images(source, out, progress=tell, **keys)


def _tls(certificate: Path | None, ca: Path | None) -> ssl.SSLContext | None:
    if certificate is None and ca is None:
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        context.check_hostname = False  # modalities are named by address; the CA is the institution's own
        if certificate is not None:
            context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"The certificate can't be used: {error}.", "Give PEM files.") from error
    return context
