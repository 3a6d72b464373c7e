"""The directory's tables: each contract as one document, beside what it is looked up by."""

from sqlalchemy import BigInteger, Column, Index, MetaData, Table

from medbus.projections.rows import text_type

metadata = MetaData()

contracts = Table(
    "contracts",
    metadata,
    Column("subscriber", text_type, primary_key=True),
    Column("contracted_at", BigInteger, nullable=False, doc="microseconds since 1970"),
    Column("cancelled_at", BigInteger, doc="microseconds since 1970, null while it is in force"),
    Column("document", text_type, nullable=False),
)

ae_titles = Table(
    "ae_titles",
    metadata,
    Column("subscriber", text_type, primary_key=True),
    Column("ae_title", text_type, primary_key=True),
    Index("ae_titles_by_ae_title", "ae_title"),
)

credentials = Table(
    "credentials",
    metadata,
    Column("subscriber", text_type, primary_key=True),
    Column("credential_id", text_type, primary_key=True),
    Column("kind", text_type, nullable=False),
    Column("digest", text_type, nullable=False),
    Column("revoked", BigInteger, nullable=False),
    Index("credentials_by_digest", "digest", "kind"),
)

events_seen = Table("events_seen", metadata, Column("event_id", text_type, primary_key=True))
"""Events that were taken up: one that comes again, at whatever offset, changes nothing."""
