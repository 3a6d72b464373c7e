"""Points in time as the tables have them: whole microseconds since 1970."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """A point in time as it is stored."""
    return (moment - _EPOCH) // _MICROSECOND


def instant(stored: int) -> datetime:
    """A point in time, UTC, from what is stored."""
    return _EPOCH + timedelta(microseconds=stored)
