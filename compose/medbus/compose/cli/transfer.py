"""`medbus send` and `medbus fetch`: images in and out over DICOM."""

from pathlib import Path
from typing import Annotated

import typer

from medbus.compose.cli import console
from medbus.compose.cli.options import HomeOption

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
    from medbus.compose.cli import exchange

    if not exchange.send(paths, exchange.peer(calling, to, home, certificate, ca)):
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
    from medbus.compose.cli import exchange

    keys = {
        "patient_id": patient,
        "study_instance_uid": study,
        "series_instance_uid": series,
        "sop_instance_uid": image,
    }
    if not exchange.fetch(exchange.peer(calling, to, home, certificate, ca), out, keys):
        raise SystemExit(console.FAILED)
