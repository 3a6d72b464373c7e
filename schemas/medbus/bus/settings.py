"""How medbus talks to Kafka. The clients' defaults lose data; these do not, and a test pins each of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

DEFAULT_PREFIX = "medbus"
"""Every topic of an installation begins with this and a dot."""

PRODUCER: Mapping[str, Any] = MappingProxyType(
    {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": 0,
        "max_batch_size": 256 * 1024,
        "max_request_size": 1024 * 1024,
        "request_timeout_ms": 20_000,
        "retry_backoff_ms": 100,
    }
)

CONSUMER: Mapping[str, Any] = MappingProxyType(
    {
        "group_id": None,
        "enable_auto_commit": False,
        # A position that the log no longer has is an alarm, never a silent jump.
        "auto_offset_reset": "none",
        "isolation_level": "read_uncommitted",
        "check_crcs": True,
        "fetch_max_wait_ms": 500,
        "fetch_min_bytes": 1,
        # Bounds what waits in memory: at most this for each partition, and for all of them together.
        "max_partition_fetch_bytes": 1024 * 1024,
        "fetch_max_bytes": 16 * 1024 * 1024,
        "request_timeout_ms": 10_000,
        "retry_backoff_ms": 100,
    }
)

# A person waits for these; a broker that is there answers in milliseconds.
ADMIN: Mapping[str, Any] = MappingProxyType({"request_timeout_ms": 4_000, "retry_backoff_ms": 100})

BATCH_RECORDS = 500
"""At most this many records are decoded in one go, so that the event loop is never held for long."""

STALL_SECONDS = 15.0
"""A consumer that gets nothing of a partition for this long although the log goes on is replaced."""

CLOSE_SECONDS = 5.0
"""What is still on its way when a client is closed has this long to arrive."""

CANCEL_SECONDS = 1.0
"""A client that is cancelled while it starts or stops has this long to come to a clean end."""

START_SECONDS = 30.0
"""Reading the registry at the start takes a fraction of a second; after this long it has failed."""

LAST_SECONDS = 0.1
"""Where the end of the log is a gap (a transaction's marker), reading up to it ends this much later."""
