"""The request catalog's tables.

Requests and the decisions on them come in no certain order, so they are apart and joined when they are read.
Times are in microseconds since 1970.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table

from medbus.projections.rows import text_type

metadata = MetaData()

requests = Table(
    "requests",
    metadata,
    Column("request_id", text_type, primary_key=True),
    Column("kind", text_type, nullable=False),
    Column("conversation", text_type, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("calling_ae_title", text_type),
    Column("address", text_type, nullable=False),
    Column("log_partition", Integer, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Index("requests_by_time", "asked_at", "log_offset"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("request_id", text_type, primary_key=True),
    Column("subscriber", text_type),
    Column("outcome", text_type, nullable=False),
    Column("reason", text_type),
    Column("detail", text_type, nullable=False),
    Column("decided_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("max_bytes", BigInteger),
    Column("used_bytes", BigInteger),
    Column("log_partition", Integer, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("asked_at", BigInteger, doc="of the request; null until that is there"),
    Index("decisions_by_subscriber", "subscriber", "asked_at"),
    Index("decisions_by_outcome", "outcome", "asked_at"),
)
"""The first decision on each request."""
