"""`medbus catalog`: what is registered, by whom, under which conditions."""

from typing import Annotated

import msgspec
import typer

from medbus.bus import Bus
from medbus.compose.cli import console
from medbus.compose.cli.options import (
    HomeOption,
    JsonOption,
    KafkaOption,
    LimitOption,
    bootstrap,
    installation,
)
from medbus.compose.cli.subscriber import list_ as subscribers
from medbus.compose.settings import Settings
from medbus.projections.conditions import ConditionReader, ImageConditions
from medbus.projections.database import Database
from medbus.projections.images import CatalogFilter, CatalogRow, ImageReader
from medbus.projections.projector import PROJECTIONS
from medbus.projections.rebuild import Rebuilt, rebuild, topics_of
from medbus.schemas.conditions import DescribedCondition

app = typer.Typer(help="Catalogs: images, their conditions, subscribers.", no_args_is_help=True)

PatientOption = Annotated[str | None, typer.Option(help="Only of this patient id.")]
ApparatusOption = Annotated[str | None, typer.Option(help="Only from this apparatus.")]
ModalityOption = Annotated[str | None, typer.Option(help="Only of this modality, as CT.")]
StudyOption = Annotated[str | None, typer.Option(help="Only of this study (UID).")]


class ConditionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which imaging conditions are wanted; None leaves that side open."""

    patient_id: str | None = None
    apparatus_id: str | None = None
    sop_instance_uid: str | None = None
    study_instance_uid: str | None = None
    modality: str | None = None
    keywords: tuple[str, ...] = ()


@app.command()
def images(
    patient: PatientOption = None,
    registrant: Annotated[str | None, typer.Option(help="Only what this subscriber registered.")] = None,
    apparatus: ApparatusOption = None,
    modality: ModalityOption = None,
    study: StudyOption = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="YYYYMMDD", help="Only imaged on this date or later.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="YYYYMMDD", help="Only imaged on this date or before.")
    ] = None,
    limit: LimitOption = 1000,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show registered images.

    Examples:
        medbus catalog images --patient 4711 --modality MR
        medbus catalog images --registrant A-hospital --from 20260101 --json
    """
    chosen = CatalogFilter(
        patient_id=patient,
        registrant=registrant,
        apparatus_id=apparatus,
        modality=modality,
        study_instance_uid=study,
        date_from=since,
        date_to=until,
    )
    show_images(console.run(read_images(installation(home, kafka), chosen, limit)), json)


@app.command()
def conditions(
    patient: PatientOption = None,
    apparatus: ApparatusOption = None,
    image: Annotated[str | None, typer.Option(help="Only of this image (SOP Instance UID).")] = None,
    study: StudyOption = None,
    modality: ModalityOption = None,
    keywords: Annotated[
        list[str] | None,
        typer.Option("--condition", metavar="KEYWORD", help="Only this one, as RepetitionTime; repeatable."),
    ] = None,
    limit: LimitOption = 1000,
    json: JsonOption = False,
    home: HomeOption = None,
    kafka: KafkaOption = None,
) -> None:
    """Show under which conditions images were made: TR, TE, kVp, mAs, pitch and so on, with units.

    Examples:
        medbus catalog conditions --apparatus 'A_MRI#1'
        medbus catalog conditions --image 1.2.840.1 --json
    """
    chosen = ConditionFilter(
        patient_id=patient,
        apparatus_id=apparatus,
        sop_instance_uid=image,
        study_instance_uid=study,
        modality=modality,
        keywords=tuple(keywords or ()),
    )
    found = console.run(read_conditions(installation(home, kafka), chosen, limit))
    show_conditions(found, json)


@app.command("rebuild")
def rebuild_(home: HomeOption = None, kafka: KafkaOption = None) -> None:
    """Build all catalogs anew from the log, beside those in use, and switch to them when they are as far.

    Searches and registrations go on meanwhile.

    Example:
        medbus catalog rebuild
    """
    rebuilt = console.run(_rebuild(installation(home, kafka)))
    rate = rebuilt.records / rebuilt.reading_seconds if rebuilt.reading_seconds else 0
    console.out.print(f"{rebuilt.records} events in {rebuilt.seconds:.1f} s ({rate:,.0f} events/s).")


_SUBSCRIBERS = """Show all contracts, as `medbus subscriber list` does.

Example:
    medbus catalog subscribers --json
"""
app.command("subscribers", help=_SUBSCRIBERS)(subscribers)


def show_images(rows: list[CatalogRow], json: bool) -> None:
    """Print image catalog rows."""
    if json:
        for row in rows:
            console.as_json(row)
        return
    console.table(
        f"Images ({len(rows)})",
        ("registrant", "patient id", "imaging date", "apparatus", "modality", "size", "SOP Instance UID"),
        [
            (
                row.registrant,
                row.patient_id,
                console.date_text(row.imaging_date),
                row.apparatus_id,
                row.modality,
                console.bytes_text(row.size),
                row.sop_instance_uid,
            )
            for row in rows
        ],
    )


def show_conditions(found: list[ImageConditions], json: bool) -> None:
    """Print imaging conditions, one image a line."""
    if json:
        for each in found:
            console.as_json(each)
        return
    console.table(
        f"Imaging conditions ({len(found)})",
        ("patient id", "imaging date", "apparatus", "modality", "conditions"),
        [
            (
                each.patient_id,
                console.date_text(each.imaging_date),
                each.apparatus_id,
                each.modality,
                "  ".join(condition_text(c) for c in each.conditions),
            )
            for each in found
        ],
    )


def condition_text(condition: DescribedCondition) -> str:
    """A condition for people, as TR=500 ms; a pure number has no unit."""
    unit = "" if condition.unit in ("", "1") else f" {condition.unit}"
    return f"{condition.label}={condition.text}{unit}"


async def _rebuild(settings: Settings) -> Rebuilt:
    async with (
        Bus(bootstrap(settings), client_id="medbus-rebuild", prefix=settings.prefix) as bus,
        Database(settings.database_url) as database,
    ):
        topics = topics_of(PROJECTIONS)
        with console.progress() as bar:
            task = bar.add_task("rebuilding", total=sum((await bus.end_offsets(*topics)).values()), note="")
            return await rebuild(bus, database, PROJECTIONS, progress=lambda count: bar.advance(task, count))


async def read_images(settings: Settings, chosen: CatalogFilter, limit: int) -> list[CatalogRow]:
    """Rows of the image catalog."""
    async with Database(settings.database_url) as database:
        return await ImageReader(database).catalog(chosen, limit=limit)


async def read_conditions(settings: Settings, chosen: ConditionFilter, limit: int) -> list[ImageConditions]:
    """Rows of the condition catalog."""
    async with Database(settings.database_url) as database:
        return await ConditionReader(database).find(
            patient_id=chosen.patient_id,
            apparatus_id=chosen.apparatus_id,
            sop_instance_uid=chosen.sop_instance_uid,
            study_instance_uid=chosen.study_instance_uid,
            modality=chosen.modality,
            keywords=chosen.keywords,
            limit=limit,
        )
