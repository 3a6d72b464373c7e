"""The body of POST /processing: what is to be processed, how, and what becomes of the results."""

from collections.abc import Sequence
from enum import Enum
from http import HTTPStatus
from typing import TypeVar

import msgspec

from medbus.gateways.dicom.values import is_uid
from medbus.gateways.http import body
from medbus.gateways.http.errors import Problem
from medbus.schemas.events import Answer, Blob, Evidence, Keep, Meta, ProcessingRequested, Selection

E = TypeVar("E", bound=Enum)

LONGEST_NAME = 64
"""Characters of a processing type, a subscriber's id, a server's name, or a parameter's name."""

LONGEST_WORDS = 1024
"""Characters of a parameter's value."""

MOST_PARAMETERS = 100

_UNPROCESSABLE = HTTPStatus.UNPROCESSABLE_ENTITY


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Images that are registered."""

    sop_instance_uids: tuple[str, ...] = ()
    series_instance_uids: tuple[str, ...] = ()
    study_instance_uids: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether it names something."""
        return bool(self.sop_instance_uids or self.series_instance_uids or self.study_instance_uids)


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client writes. Values of parameters may be numbers; names of choices are in any case."""

    type: str
    parameters: dict[str, str | int | float | bool] = {}
    images: Named = Named()
    masks: Named = Named()
    keep: str = Keep.NEITHER.value
    answer: str = Answer.FETCH.value
    destinations: tuple[str, ...] = ()
    server: str | None = None

    def words(self) -> dict[str, str]:
        """The parameters as they are written in events."""
        return {name: _word(value) for name, value in self.parameters.items()}

    def requested(
        self, meta: Meta, evidence: Evidence, images: tuple[Blob, ...], masks: tuple[Blob, ...]
    ) -> ProcessingRequested:
        """The event.

        Args:
            meta: its head.
            evidence: of who asks.
            images, masks: those that are enclosed.
        """
        return ProcessingRequested(
            meta=meta,
            evidence=evidence,
            processing_type=self.type,
            parameters=self.words(),
            images=_selection(self.images, images),
            masks=_selection(self.masks, masks),
            keep=_choice("keep", self.keep, Keep),
            answer=_choice("answer", self.answer, Answer),
            destinations=tuple(dict.fromkeys(self.destinations)),
            server=self.server,
        )


def read(content: bytes) -> Order:
    """The order that a body holds.

    Raises:
        Problem: it is no JSON (400), or not what is expected (422).
    """
    order = body.decode(content, Order)
    body.text("type", order.type, LONGEST_NAME)
    if len(order.parameters) > MOST_PARAMETERS:
        raise Problem(_UNPROCESSABLE, f"There are more than {MOST_PARAMETERS} parameters.")
    for name, words in order.words().items():
        body.text("The name of a parameter", name, LONGEST_NAME)
        body.text(f"parameters.{name}", words, LONGEST_WORDS)
    for place, named in (("images", order.images), ("masks", order.masks)):
        for field in msgspec.structs.fields(Named):
            _check_uids(f"{place}.{field.name}", getattr(named, field.name))
    _choice("keep", order.keep, Keep)
    _choice("answer", order.answer, Answer)
    for destination in order.destinations:
        body.text("A destination", destination, LONGEST_NAME)
    if order.server is not None:
        body.text("server", order.server, LONGEST_NAME)
    return order


def _check_uids(place: str, uids: Sequence[str]) -> None:
    for uid in uids:
        if not is_uid(uid):
            raise Problem(_UNPROCESSABLE, f"{place} has {uid[:80]!r}, which is no UID.")


def _selection(named: Named, enclosed: tuple[Blob, ...]) -> Selection:
    return Selection(
        sop_instance_uids=tuple(dict.fromkeys(named.sop_instance_uids)),
        series_instance_uids=tuple(dict.fromkeys(named.series_instance_uids)),
        study_instance_uids=tuple(dict.fromkeys(named.study_instance_uids)),
        enclosed=enclosed,
    )


def _choice(name: str, word: str, among: type[E]) -> E:
    """What a word names.

    Raises:
        Problem: nothing (422).
    """
    known = {each.name: each for each in among if each.name != "UNSPECIFIED"}
    chosen = known.get(word.strip().upper().replace("-", "_"))
    if chosen is None:
        raise Problem(_UNPROCESSABLE, f"{name} can't be {word[:64]!r}; it is one of {', '.join(known)}.")
    return chosen


def _word(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else repr(value)
