"""Images on their way out, and the network side that takes them: what a network library has to offer."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pydicom.dataset import Dataset

from medbus.gateways.dicom.presentation import UNCOMPRESSED
from medbus.gateways.dicom.status import Outcome
from medbus.schemas.events import Blob

CONTEXTS_PER_ASSOCIATION = 128
"""Presentation context ids are the odd numbers to 255 (PS3.8 9.3.2.2)."""

Contexts = Sequence[tuple[str, Sequence[str]]]
"""SOP classes, each with transfer syntaxes; one pair for each presentation context."""


class Storable(Protocol):
    """An image in the blob store."""

    @property
    def sop_class_uid(self) -> str: ...

    @property
    def sop_instance_uid(self) -> str: ...

    @property
    def blob(self) -> Blob: ...


S = TypeVar("S", bound=Storable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An application entity on the network."""

    ae_title: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An image to send.

    Attributes:
        content: the encoded data set; chunks, to be read in a worker thread, where it is large.
        originator: AE title and message id of the C-MOVE that this is for.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    size: int
    content: bytes | memoryview | Callable[[], Iterator[bytes]]
    originator: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How far the sub-operations of a retrieval have come."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0


@dataclass(frozen=True, slots=True)
class Retrieved:
    """How a retrieval ended, with the SOP Instance UIDs that did not arrive."""

    outcome: Outcome
    counts: Counts = field(default_factory=Counts)
    failed: tuple[str, ...] = ()


class Unreachable(Exception):
    """A peer does not answer, refuses the association, or left it."""


class NothingAccepted(Unreachable):
    """A peer answers, but takes none of the SOP classes that were proposed."""


class Outlet(Protocol):
    """An association under which images can be sent."""

    @abstractmethod
    def accepts(self, sop_class_uid: str) -> Collection[str]:
        """The transfer syntaxes that the peer takes for a SOP class."""

    @abstractmethod
    async def store(self, image: Outgoing) -> Outcome:
        """Send it and wait for the response.

        Raises:
            Unreachable: the peer is gone, or does not respond.
        """


class Connector(Protocol):
    """Opens associations."""

    @abstractmethod
    def connect(self, address: Address, contexts: Contexts) -> AbstractAsyncContextManager[Outlet]:
        """An association with these presentation contexts.

        Raises:
            Unreachable: on entering, if there is none.
        """

    @abstractmethod
    async def report(self, address: Address, event_type: int, information: Dataset) -> Outcome:
        """Send an N-EVENT-REPORT of storage commitment on an association of its own (PS3.4 J.3.3).

        Raises:
            Unreachable: the peer does not answer, or does not take reports.
        """


class Requester(Protocol):
    """The peer that asked for a retrieval."""

    @abstractmethod
    async def pending(self, counts: Counts) -> None:
        """Tell it how far the retrieval has come."""

    @abstractmethod
    def cancelled(self) -> bool:
        """Whether it asked to stop (C-CANCEL), or is gone."""


def batches(images: Sequence[S]) -> list[tuple[list[S], list[tuple[str, list[str]]]]]:
    """Images that fit into one association each, with the presentation contexts to propose.

    Every SOP class gets a context for each transfer syntax that its images are stored in, and one for each
    that any image can be converted to.
    """
    classes: dict[str, list[S]] = {}
    for image in images:
        classes.setdefault(image.sop_class_uid, []).append(image)
    found: list[tuple[list[S], list[tuple[str, list[str]]]]] = []
    for uid, members in classes.items():
        syntaxes = dict.fromkeys([image.blob.transfer_syntax_uid for image in members] + list(UNCOMPRESSED))
        contexts = [(uid, [syntax]) for syntax in syntaxes]
        if found and len(found[-1][1]) + len(contexts) <= CONTEXTS_PER_ASSOCIATION:
            found[-1][0].extend(members)
            found[-1][1].extend(contexts)
        else:
            found.append((list(members), contexts[:CONTEXTS_PER_ASSOCIATION]))
    return found
