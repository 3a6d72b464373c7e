"""The image catalog's tables.

What the images of a series have in common stands once, in `holdings`: an image row refers to it by number.
Scope, counts and sums are answered from holdings alone, however many images there are.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table
from sqlalchemy.types import TypeEngine

from medbus.projections.rows import text_type
from medbus.projections.storage import EARLY

metadata = MetaData()


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, text_type, primary_key=key, nullable=False)


def _number(name: str, kind: type[TypeEngine[int]] = BigInteger, *, null: bool = False) -> Column[int]:
    return Column(name, kind, nullable=null)


def _counter(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, info={"counter": True})


studies = Table(
    "studies",
    metadata,
    _text("study_instance_uid", key=True),
    _text("patient_id", key=True),
    _text("issuer_of_patient_id"),
    _text("patient_name"),
    _text("patient_birth_date"),
    _text("patient_sex"),
    _text("study_id"),
    _text("study_date"),
    _text("study_time"),
    _text("accession_number"),
    _text("study_description"),
    _text("referring_physician_name"),
    # What names, dates and times are searched by.
    _text("patient_alphabetic"),
    _text("patient_ideographic"),
    _text("patient_phonetic"),
    _text("referring_alphabetic"),
    _text("referring_ideographic"),
    _text("referring_phonetic"),
    Column("birth_day", text_type),
    Column("study_day", text_type),
    _number("study_moment", null=True),
    # The first image of it.
    _number("registered_at"),
    _number("log_partition", Integer),
    _number("log_offset"),
    Index("studies_by_patient", "patient_id", "registered_at", "log_partition", "log_offset"),
    Index("studies_by_alphabetic", "patient_alphabetic"),
    Index("studies_by_ideographic", "patient_ideographic"),
    Index("studies_by_phonetic", "patient_phonetic"),
    Index("studies_by_day", "study_day"),
    Index("studies_by_accession_number", "accession_number"),
)
"""Studies, as their first image describes them. A study that came under two patient ids is two rows: each
patient's contracts see their own."""

series = Table(
    "series",
    metadata,
    _text("study_instance_uid", key=True),
    _text("patient_id", key=True),
    _text("series_instance_uid", key=True),
    _text("modality"),
    _number("series_number", null=True),
    _text("series_date"),
    _text("series_time"),
    _text("series_description"),
    _text("protocol_name"),
    _text("body_part_examined"),
    _text("manufacturer"),
    _text("manufacturer_model_name"),
    _text("station_name"),
    _text("institution_name"),
    Column("series_day", text_type),
    _number("series_moment", null=True),
    Index("series_by_uid", "series_instance_uid"),
)
"""Series, as their first image describes them."""

holdings = Table(
    "holdings",
    metadata,
    Column("holding", BigInteger, primary_key=True, autoincrement=False),
    _text("study_instance_uid"),
    _text("patient_id"),
    _text("series_instance_uid"),
    _text("registrant"),
    Column("apparatus_id", text_type),
    _text("modality"),
    _text("sop_class_uid"),
    _text("transfer_syntax_uid"),
    _number("log_partition", Integer),
    _counter("images"),
    _counter("bytes"),
    Index("holdings_by_study", "study_instance_uid", "patient_id", "series_instance_uid", info=EARLY),
    Index("holdings_by_patient", "patient_id"),
    Index("holdings_by_series", "series_instance_uid"),
)
"""Images of one series that have all of this in common, with their number and size."""

images = Table(
    "images",
    metadata,
    _text("sop_instance_uid", key=True),
    _number("holding"),
    _number("instance_number", null=True),
    _text("image_type"),
    _text("imaging_date"),
    _text("imaging_time"),
    _number("rows", null=True),
    _number("columns", null=True),
    _number("number_of_frames", null=True),
    _text("comments"),
    _text("digest"),
    _number("size"),
    _number("registered_at"),
    _number("log_offset"),
    Index("images_by_holding", "holding", info=EARLY),
    Index("images_by_registration", "registered_at"),
)
"""Images that are served."""

deviations = Table("deviations", metadata, _text("sop_instance_uid", key=True), _text("document"))
"""What images say of patient, study and series, where that differs from the rows there."""

shadowed = Table(
    "shadowed",
    metadata,
    _text("sop_instance_uid", key=True),
    _text("study_instance_uid", key=True),
    _text("document"),
)
"""Images whose SOP Instance UID is served already for another study."""

erasures = Table(
    "erasures",
    metadata,
    _text("sop_instance_uid", key=True),
    _text("study_instance_uid", key=True),
    _text("digest", key=True),
)
"""Contents that were erased and stay so, whatever is redelivered."""

conflicts = Table(
    "conflicts",
    metadata,
    _text("sop_instance_uid", key=True),
    _text("study_instance_uid", key=True),
    _text("event_id", key=True),
    _text("registrant"),
    _text("registered_digest"),
    _text("refused_digest"),
    _number("refused_size"),
    _text("refused_transfer_syntax_uid"),
    _number("raced", Integer),
    _number("recorded_at"),
    _number("log_partition", Integer),
    _number("log_offset"),
)
"""Other contents that came under a registered SOP Instance UID: kept, never served. With `raced`, two
gateways registered them at the same time; else a gateway refused them."""

usage = Table("usage", metadata, _text("registrant", key=True), _counter("images"), _counter("bytes"))
"""What each subscriber has registered."""

usage_by_minute = Table(
    "usage_by_minute",
    metadata,
    _text("registrant", key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False, doc="since 1970"),
    _counter("bytes"),
    _counter("byte_seconds"),
)
"""By how much the contents that each subscriber has in the store grew in a minute: in bytes, and in bytes by
seconds, from when they came, or were erased, to the minute's end. Times are the log's. Contents that are in
the shadow of others count as well.
"""
