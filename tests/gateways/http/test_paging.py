"""Pages by time: everything once, whatever comes at the same time."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from medbus.gateways.http.paging import Wanted, among, page

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

Item = tuple[datetime, int]


def time(item: Item) -> datetime:
    """When it was."""
    return item[0]


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 10))
async def test_pages_hold_everything_once_in_order(moments: list[int], limit: int) -> None:
    made = [(BEGIN + timedelta(microseconds=moment), number) for number, moment in enumerate(moments)]
    items: list[Item] = sorted(made, reverse=True)
    found: list[Item] = []
    before: datetime | None = None
    for _ in range(len(items) + 1):
        part, following = await page(among(items, time), time, Wanted(limit, before))
        assert len(part) <= limit or len({time(each) for each in part}) == 1
        assert part or following is None
        found += part
        before = following
        if following is None:
            break
    assert before is None, "the pages do not end"
    assert found == items


async def test_an_empty_page_is_the_last() -> None:
    assert await page(among([], time), time, Wanted(1, None)) == ([], None)
