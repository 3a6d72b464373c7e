"""Hypothesis strategies for everything that the events are made of.

`events()` gives any event, `values(ImageRegistered)` those of one class; fields are pinned by keyword:
`values(Meta, source=just("gateway"))`.
"""

from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from medbus.schemas.events import Event
from medbus.schemas.topics import TOPIC_OF

_PLAIN: dict[Any, SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    bytes: st.binary(max_size=40),
    UUID: st.uuids(),
    NoneType: st.none(),
}

V = TypeVar("V", bound=msgspec.Struct)

ZONES = (UTC, timezone(timedelta(hours=9)), timezone(-timedelta(hours=3, minutes=30)))

instants = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001  the zones come with the values
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.sampled_from(ZONES),
)
"""Aware times, to the microsecond, as far as the calendar goes."""


def events() -> SearchStrategy[Event]:
    """Any event of any topic."""
    return st.one_of([values(event) for event in TOPIC_OF])


def values(kind: type[V], **pinned: SearchStrategy[Any]) -> SearchStrategy[V]:
    """Values of a record class; a field that is pinned takes its values from the strategy given."""
    if not pinned:
        return _values(kind)
    return st.builds(kind, **{**_fields(kind), **pinned})


@cache
def _values(kind: type[V]) -> SearchStrategy[V]:
    return st.builds(kind, **_fields(kind))


def _fields(kind: type[msgspec.Struct]) -> dict[str, SearchStrategy[Any]]:
    return {name: _of_type(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}


def _of_type(hint: Any) -> SearchStrategy[Any]:  # noqa: PLR0911  one return for each type
    match get_origin(hint) or hint, get_args(hint):
        case base, () if base in _PLAIN:
            return _PLAIN[base]
        case base, () if issubclass(base, Enum):
            return st.sampled_from(base)
        case base, () if issubclass(base, msgspec.Struct):
            return _values(base)
        case base, (kind, _) if base is Annotated and kind is datetime:
            return instants
        case base, (kind, bounds) if base is Annotated and kind is int:
            return st.integers(min_value=bounds.ge, max_value=bounds.le)
        case base, kinds if base in (Union, UnionType):
            return st.one_of([_of_type(each) for each in kinds])
        case base, (item, rest) if base is tuple and rest is ...:
            return st.lists(_of_type(item), max_size=3).map(tuple)
        case base, (key, value) if base is dict:
            return st.dictionaries(_of_type(key), _of_type(value), max_size=4)
    raise TypeError(f"no strategy for {hint!r}: an event has a type that is new here")
