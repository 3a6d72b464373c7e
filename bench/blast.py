"""A C-STORE client that costs next to nothing, so that the server is what is measured.

Every PDU is encoded before the clock starts. Each association has a process of its own and sends an image
when the one before was answered, as a modality does.
"""

import multiprocessing
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import NamedTuple

from bench import pdu
from bench.association import SECONDS, Association
from bench.inflow import PeerFailed
from bench.pdu import Context
from bench.slice import Slice
from medbus.schemas.errors import MedbusError

CALLING = "BLAST"
RUN_SECONDS = 300.0

_PROCESSES = multiprocessing.get_context("spawn")


class Stored(NamedTuple):
    """An image that the server answered with success: moments of the monotonic clock, in seconds."""

    sop_instance_uid: str
    sent: float
    answered: float


class Run(NamedTuple):
    """One sending of many images.

    Attributes:
        images: association after association, each in the order in which it sent them.
        seconds: from the first byte to the last response.
        size: bytes of all data sets.
    """

    images: list[Stored]
    seconds: float
    size: int

    @property
    def images_per_second(self) -> float:
        return len(self.images) / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.size / self.seconds / 1e6

    @property
    def latencies(self) -> list[float]:
        """Seconds from the first byte of an image to its response."""
        return [image.answered - image.sent for image in self.images]


def blast(port: int, called: str, slices: Sequence[Slice], associations: int = 1) -> Run:
    """Send images as fast as the server takes them.

    Args:
        port: of the server, on loopback.
        called: its AE title.
        slices: what to send; dealt out over the associations.
        associations: how many there are at once.

    Raises:
        PeerFailed: the server does not answer, or not with success.
    """
    with ExitStack() as stack:
        senders: list[Connection[str, object]] = []
        for number in range(associations):
            ours, theirs = _PROCESSES.Pipe()
            process = _PROCESSES.Process(
                target=_sender, args=(theirs, port, called, slices[number::associations]), daemon=True
            )
            process.start()
            theirs.close()
            stack.callback(process.join)
            stack.callback(process.kill)
            stack.enter_context(ours)
            senders.append(ours)
        for sender in senders:
            answer(sender, SECONDS)
        for sender in senders:
            sender.send("go")
        runs = [run for sender in senders if isinstance(run := answer(sender, RUN_SECONDS), Run)]
    images = [image for run in runs for image in run.images]
    seconds = max(image.answered for image in images) - min(image.sent for image in images)
    return Run(images, seconds, sum(run.size for run in runs))


def storage(slices: Sequence[Slice]) -> list[Context]:
    """What is proposed for sending the images."""
    return [Context(1, slices[0].sop_class_uid)]


def encoded(slices: Sequence[Slice], data_sets: Sequence[bytes], limit: int) -> list[bytes]:
    """The C-STORE requests of images, each as P-DATA-TF PDUs of at most that length."""
    return [
        pdu.message(1, pdu.store_request(number, each.sop_class_uid, each.sop_instance_uid), data_set, limit)
        for number, (each, data_set) in enumerate(zip(slices, data_sets, strict=True), start=1)
    ]


def send(association: Association, slices: Sequence[Slice], messages: Sequence[bytes]) -> list[Stored]:
    """Send images one after the other.

    Raises:
        PeerFailed: one was not answered with success.
    """
    images: list[Stored] = []
    for each, message in zip(slices, messages, strict=True):
        sent = time.monotonic()
        association.send(message)
        status = association.status()
        if status != 0:
            raise PeerFailed(f"Image {len(images) + 1} was answered with status {status:04X}H.")
        images.append(Stored(each.sop_instance_uid, sent, time.monotonic()))
    return images


def answer(sender: "Connection[str, object]", seconds: float) -> object:
    """What a sender says next.

    Raises:
        PeerFailed: it says nothing for so long, or that it failed.
    """
    if not sender.poll(seconds):
        raise PeerFailed(f"A sender did not get on within {seconds:.0f} s.")
    try:
        said = sender.recv()
    except EOFError:
        raise PeerFailed("A sender ended without an answer.") from None
    if isinstance(said, MedbusError):
        raise said
    return said


def _sender(parent: "Connection[object, str]", port: int, called: str, slices: Sequence[Slice]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    try:
        with Association(port, called, CALLING, storage(slices)) as association:
            data_sets = [each.data_set() for each in slices]
            messages = encoded(slices, data_sets, association.limit)
            parent.send("ready")
            parent.recv()
            images = send(association, slices, messages)
        size = sum(len(each) for each in data_sets)
        parent.send(Run(images, images[-1].answered - images[0].sent, size))
    except MedbusError as error:
        parent.send(error)
    except OSError as error:
        parent.send(PeerFailed(f"The connection to {called} failed: {error}."))
