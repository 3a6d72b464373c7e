"""The work of `medbus send` and `medbus fetch`. Apart from the commands, since it brings in much."""

import ssl
from collections.abc import Sequence
from pathlib import Path

from medbus.compose import settings as compose
from medbus.compose.cli import console
from medbus.compose.home import Home
from medbus.gateways.dicom.client import DicomFile, Fetched, Peer, Sent, find_files
from medbus.gateways.dicom.client import fetch as fetch_images
from medbus.gateways.dicom.client import send as send_files
from medbus.schemas.errors import MedbusError, SettingsError


def send(paths: Sequence[Path], to: Peer) -> bool:
    """Send DICOM files and say what became of them; True if all were registered.

    Raises:
        MedbusError: there are none.
    """
    files = find_files(*paths)
    if not files:
        raise MedbusError(f"There are no DICOM files in {', '.join(map(str, paths))}.", "Check the path.")
    sent = console.run(_send_with_progress(files, to))
    stored = [each for each in sent if each.stored]
    if len(stored) < len(sent):
        refused = [each for each in sent if not each.stored]
        console.table("Not registered", ("file", "why"), [(each.file.path, why(each)) for each in refused])
    size = console.bytes_text(sum(each.file.size for each in stored))
    console.out.print(f"{len(stored)} of {len(files)} images registered, {size}.")
    return len(stored) == len(files)


def fetch(source: Peer, out: Path, keys: dict[str, str]) -> bool:
    """Fetch images and say what became of them; True if there were some and all came."""
    fetched = console.run(_fetch_with_progress(source, out, keys))
    failed = [each for each in fetched if each.path is None]
    if failed:
        console.table(
            "Not fetched", ("SOP Instance UID", "why"), [(f.sop_instance_uid, f.error) for f in failed]
        )
    size = console.bytes_text(sum(each.size for each in fetched))
    console.out.print(f"{len(fetched) - len(failed)} of {len(fetched)} images fetched, {size}.")
    return bool(fetched) and not failed


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


async def _send_with_progress(files: list[DicomFile], to: Peer) -> list[Sent]:
    """Send files under a progress bar."""
    with console.progress() as bar:
        task = bar.add_task("sending", total=len(files), note="")

        def tell(sent: Sent) -> None:
            bar.update(task, advance=1, note=sent.file.path.name)

        return await send_files(files, to, progress=tell)


async def _fetch_with_progress(source: Peer, out: Path, keys: dict[str, str]) -> list[Fetched]:
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
