"""Many small images over several associations, made while they are sent: as many as one wants, in no memory.

Each association has a process of its own. They cost a small part of what a server does with the images.
"""

import itertools
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import NamedTuple
from uuid import uuid4

from bench import blast, pdu
from bench.association import Association
from bench.blast import CALLING
from bench.inflow import PeerFailed
from bench.slice import Slice, uid
from medbus.schemas.errors import MedbusError

ASSOCIATIONS = 4
STUDY_IMAGES = 400
STEP = 100
"""After so many images a sender says how far it is."""

SILENT_SECONDS = 60.0
LOOK_SECONDS = 0.5

_PROCESSES = multiprocessing.get_context("spawn")


class Filled(NamedTuple):
    """So many images were stored within so many seconds."""

    images: int
    seconds: float


def images(small: Slice, token: str) -> Iterator[Slice]:
    """Endless images like this one in studies of STUDY_IMAGES; every token gives other UIDs."""
    for number in itertools.count():
        study = f"{token}/{number // STUDY_IMAGES}"
        yield Slice(
            small.file, small.new, (uid(study), uid(f"{study}/series"), uid(f"{study}/image/{number}"))
        )


def fill(
    server: tuple[int, str],
    small: Slice,
    count: int,
    *,
    seconds: float = float("inf"),
    watch: Callable[[Filled], None] = lambda _: None,
) -> Filled:
    """Send small images until there are so many or the time is over.

    Args:
        server: its port on loopback and its AE title.
        small: what the images are made from.
        count: how many at most.
        seconds: how long at most.
        watch: told now and then how far it is.

    Raises:
        PeerFailed: the server does not answer, or not with success.
    """
    sent = [0] * ASSOCIATIONS
    with ExitStack() as stack:
        senders: dict[int, Connection[str, object]] = {}
        for number in range(ASSOCIATIONS):
            ours, theirs = _PROCESSES.Pipe()
            share = count // ASSOCIATIONS + (number < count % ASSOCIATIONS)
            process = _PROCESSES.Process(
                target=_sender, args=(theirs, server, small, share, seconds), daemon=True
            )
            process.start()
            theirs.close()
            stack.callback(process.join)
            stack.callback(process.kill)
            senders[number] = stack.enter_context(ours)
        for sender in senders.values():
            blast.answer(sender, SILENT_SECONDS)
        start = time.monotonic()
        for sender in senders.values():
            sender.send("go")
        while senders:
            for number, sender in list(senders.items()):
                while sender.poll():
                    said = blast.answer(sender, SILENT_SECONDS)
                    if not isinstance(said, int):
                        del senders[number]
                        break
                    sent[number] = said
            now = Filled(sum(sent), time.monotonic() - start)
            watch(now)
            if senders:
                time.sleep(LOOK_SECONDS)
    return now


def _sender(
    parent: "Connection[object, str]", server: tuple[int, str], small: Slice, count: int, seconds: float
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    sent = 0
    port, called = server
    try:
        with Association(port, called, CALLING, blast.storage([small])) as association:
            parent.send("ready")
            parent.recv()
            end = time.monotonic() + seconds
            for each in itertools.islice(images(small, uuid4().hex), count):
                request = pdu.store_request(sent % 0xFFFF + 1, each.sop_class_uid, each.sop_instance_uid)
                association.send(pdu.message(1, request, each.data_set(), association.limit))
                if status := association.status():
                    raise PeerFailed(f"Image {sent + 1} was answered with status {status:04X}H.")
                sent += 1
                if sent % STEP == 0:
                    parent.send(sent)
                if time.monotonic() > end:
                    break
        parent.send(sent)
        parent.send("done")
    except MedbusError as error:
        parent.send(error)
    except OSError as error:
        parent.send(PeerFailed(f"The connection to {called} failed: {error}."))
