"""`medbus demo`: see it work."""

from pathlib import Path
from typing import Annotated

import typer

from medbus.compose.cli import console


def demo(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Your own DICOM files to send."),
    ] = None,
) -> None:
    """Show the service at work: start it, register real images, fetch them back, compare byte for byte.

    Uses a home of its own that is removed afterwards. Ends with exit code 0 only if every image that was sent
    came back identical.

    Example:
        medbus demo --data scans/
    """
    from medbus.compose import demo as demonstration  # brings much that no other command needs

    if not console.run(demonstration.run(data)):
        raise SystemExit(console.FAILED)
