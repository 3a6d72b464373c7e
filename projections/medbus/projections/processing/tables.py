"""The processing catalog's tables.

What is recorded of a request comes from five topics in no certain order, so each has a table of its own and
they are joined when they are read. What is asked all the time, what is still to be done, stands in small
tables whose rows are removed when it is done. Times are in microseconds since 1970.
"""

from enum import StrEnum

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table

from medbus.projections.rows import text_type

metadata = MetaData()


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, text_type, primary_key=key, nullable=False)


def _key(name: str) -> Column[int]:
    return Column(name, Integer, primary_key=True, nullable=False, autoincrement=False)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _counter(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, info={"counter": True})


def _place() -> tuple[Column[int], ...]:
    return Column("log_partition", Integer, nullable=False), _number("log_offset")


requests = Table(
    "processing_requests",
    metadata,
    _text("request_id", key=True),
    _text("conversation"),
    _number("requested_at"),
    *_place(),
    _text("processing_type"),
    _text("parameters"),
    _text("keep"),
    _text("answer"),
    _text("destinations"),
    _text("document"),
    Index("processing_requests_by_time", "requested_at", "log_offset"),
)

decisions = Table(
    "processing_decisions",
    metadata,
    _text("request_id", key=True),
    Column("subscriber", text_type),
    Column("reason", text_type, doc="null where it was authorized"),
    _text("detail"),
    Column("document", text_type, doc="the grant; null where it was rejected"),
)
"""The first decision on each request."""

parties = Table(
    "processing_parties",
    metadata,
    _text("request_id", key=True),
    _text("subscriber", key=True),
    _number("requested_at"),
    Index("processing_parties_by_subscriber", "subscriber", "requested_at"),
)
"""Who asked, and who is to get the results; as soon as request and decision are both there."""


class Milestone(StrEnum):
    """What happens to a request as a whole."""

    STARTED = "STARTED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    COMPLETED = "COMPLETED"
    KEPT = "KEPT"


milestones = Table(
    "processing_milestones",
    metadata,
    _text("request_id", key=True),
    _text("kind", key=True),
    _number("at"),
    _number("log_offset"),
    Column("item_count", BigInteger),
    Column("image_count", BigInteger),
    _text("reason"),
)
"""The first event of each kind; they share a partition, so their offsets tell which came before which."""

planned = Table(
    "processing_planned",
    metadata,
    _text("request_id", key=True),
    _key("item"),
    _key("slot"),
    Column("server", text_type),
    _text("identity"),
    _number("planned_at"),
)
"""Plans of items. An item that was planned again in another slot, after a restart, has two."""

outcomes = Table(
    "processing_outcomes",
    metadata,
    _text("request_id", key=True),
    _key("item"),
    _text("state"),
    Column("server", text_type),
    Column("identity", text_type),
    _number("images"),
    _number("bytes"),
    _number("milliseconds"),
    _number("results"),
    _text("reason"),
    _text("findings"),
    _number("done_at"),
    *_place(),
    Index("processing_outcomes_by_identity", "identity", "done_at", "log_partition", "log_offset"),
)
"""What became of items: the first of being processed, failing and being skipped. The identity is there only
where it was processed."""

results = Table(
    "processing_results",
    metadata,
    _text("request_id", key=True),
    _key("item"),
    _key("number"),
    _text("processing_type"),
    _text("description"),
    _text("study_instance_uid"),
    _text("series_instance_uid"),
    _text("sop_class_uid"),
    _text("sop_instance_uid"),
    _text("digest"),
    _number("size"),
    _text("transfer_syntax_uid"),
    Index("processing_results_by_image", "request_id", "sop_instance_uid"),
)

progress = Table(
    "processing_progress",
    metadata,
    _text("request_id", key=True),
    _counter("processed"),
    _counter("failed"),
    _counter("skipped"),
    _counter("images"),
    _counter("bytes"),
    _counter("milliseconds"),
    _counter("results"),
)
"""The sums of the outcomes of a request."""

sessions = Table("processing_sessions", metadata, _text("request_id", key=True), _text("server", key=True))
"""Which servers did items of a request."""

answers = Table(
    "processing_answers",
    metadata,
    _text("request_id", key=True),
    _text("destination", key=True),
    _text("document"),
)
"""The first answer to each destination."""

servers = Table(
    "processing_servers", metadata, _text("server", key=True), _number("started_at"), _number("cores")
)

outstanding = Table(
    "processing_outstanding", metadata, _text("request_id", key=True), _key("item"), _key("slot")
)
"""Items that any server may do and that are to be done: not of requests that are completed."""

load = Table("processing_load", metadata, _key("slot"), _counter("item_count"))
"""How many of the outstanding items are in each slot."""

unkept = Table(
    "processing_unkept",
    metadata,
    _text("request_id", key=True),
    _number("completed_at"),
    Index("processing_unkept_by_time", "completed_at", "request_id"),
)
"""Completed requests of which images are still to be registered."""

unanswered = Table(
    "processing_unanswered",
    metadata,
    _text("request_id", key=True),
    _text("destination", key=True),
    _number("completed_at"),
    Index("processing_unanswered_by_time", "completed_at", "request_id", "destination"),
)
"""Destinations that are still to be given the results."""
