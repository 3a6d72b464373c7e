"""Settings by value: the clients' defaults lose data, so each setting that keeps it is pinned here."""

from tests.bus.images import erased
from tests.bus.waiting import within

from medbus.bus import Bus, Start, settings
from medbus.schemas.topics import IMAGES


def test_settings_are_these() -> None:
    assert dict(settings.PRODUCER) == {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": 0,
        "max_batch_size": 262144,
        "max_request_size": 1048576,
        "request_timeout_ms": 20000,
        "retry_backoff_ms": 100,
    }
    assert dict(settings.CONSUMER) == {
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_uncommitted",
        "check_crcs": True,
        "fetch_max_wait_ms": 500,
        "fetch_min_bytes": 1,
        "max_partition_fetch_bytes": 1048576,
        "fetch_max_bytes": 16777216,
        "request_timeout_ms": 10000,
        "retry_backoff_ms": 100,
    }
    assert dict(settings.ADMIN) == {"request_timeout_ms": 4000, "retry_backoff_ms": 100}
    assert settings.BATCH_RECORDS == 500
    assert settings.STALL_SECONDS == 15.0
    assert settings.CLOSE_SECONDS == 5.0


async def test_clients_are_made_with_them(bus: Bus) -> None:
    async with within(10, "an event to come back"):
        await bus.publish(erased())
        async with bus.subscribe(IMAGES, start=Start.BEGINNING) as subscription:
            await anext(subscription)
            producer = bus._producer._client
            consumer = subscription._reader._consumer
            assert producer is not None
            assert producer._sender._acks == -1
            assert producer._txn_manager is not None
            assert producer._txn_manager.transactional_id is None
            assert consumer is not None
            assert consumer._group_id is None
            assert consumer._enable_auto_commit is False
            assert consumer._auto_offset_reset == "none"
            assert consumer._check_crcs is True
            assert consumer._max_partition_fetch_bytes == 1048576
