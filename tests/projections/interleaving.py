"""All the ways in which a log can be read."""

from collections.abc import Sequence

from hypothesis import strategies as st
from tests.projections.memory_log import MemoryLog

from medbus.bus import Record
from medbus.schemas.events import Event


def log_of(some: Sequence[Event]) -> MemoryLog:
    log = MemoryLog()
    log.extend(some)
    return log


@st.composite
def deliveries(draw: st.DrawFn, log: MemoryLog) -> list[list[Record]]:
    """The log's records in batches: any order among partitions, and parts of it again and again."""
    left = dict.fromkeys(log.records, 0)
    batches: list[list[Record]] = [[]]
    while any(at < len(log.records[p]) for p, at in left.items()):
        partition = draw(st.sampled_from([p for p, at in left.items() if at < len(log.records[p])]))
        begin = left[partition]
        if begin and draw(st.booleans()):
            # After a restart what was read but not noted comes again; it begins a new batch.
            begin = draw(st.integers(0, begin))
            batches.append([])
        left[partition] = draw(st.integers(left[partition] + 1, len(log.records[partition])))
        batches[-1].extend(log.records[partition][begin : left[partition]])
        if draw(st.booleans()):
            batches.append([])
    return [batch for batch in batches if batch]
