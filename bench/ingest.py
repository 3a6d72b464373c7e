"""C-STORE into the whole service and into Orthanc: both warm, in turns, each image new to both.

Success means the same at both: image and index entry are on the disk. While one is measured the other idles;
what ours costs then is the figure `idle/cpu`.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bench import orthanc, service, storescp, storescu
from bench.blast import blast
from bench.figure import Figure, percentiles
from bench.process import cpu_seconds
from bench.stage import Stage

ASSOCIATIONS = (1, 4)
MEDBUS = "medbus"
BLAST, STORESCU = "blast", "storescu"


class Receiver(NamedTuple):
    """A server to send to."""

    name: str
    ae_title: str
    port: int
    pid: int


class Kind(NamedTuple):
    """A way to send."""

    client: str
    associations: int

    def __str__(self) -> str:
        return f"c-store/{self.associations}/{self.client}"


@dataclass
class Measured:
    """What repeated sendings of one kind to one server gave."""

    images: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    latencies: list[list[float]] = field(default_factory=list)


def receivers(stage: Stage) -> list[Receiver]:
    """Ours, and the peer where it is installed."""
    ours = stage.service
    found = [Receiver(MEDBUS, service.AE_TITLE, ours.port, ours.pid)]
    if (peer := stage.orthanc) is not None:
        found.append(Receiver(orthanc.NAME, orthanc.AE_TITLE, peer.port, peer.pid))
    return found


def ingest(stage: Stage) -> Iterator[Figure]:
    """C-STORE with one and with four associations, by a client that costs nothing and by DCMTK's storescu."""
    all_ = receivers(stage)
    for receiver in all_:
        stage.say(f"warming up {receiver.name}")
        blast(receiver.port, receiver.ae_title, stage.study()[:50], associations=2)
    clients = [BLAST, STORESCU] if storescu.installed() else [BLAST]
    if STORESCU not in clients:
        stage.say(storescu.INSTALL)
    found: dict[Kind, dict[str, Measured]] = defaultdict(lambda: defaultdict(Measured))
    for repetition in range(1, stage.repetitions + 1):
        for kind in (Kind(client, number) for client in clients for number in ASSOCIATIONS):
            for receiver in all_:
                stage.say(f"{kind} to {receiver.name} ({repetition} of {stage.repetitions})")
                send(stage, receiver, kind, found[kind][receiver.name])
    for kind, by_server in found.items():
        yield from _figures(kind, by_server)
    stage.service.verify()


def client_limit(stage: Stage) -> Iterator[Figure]:
    """How fast the client is: against storescp, which writes files and neither syncs nor indexes."""
    if not storescp.installed():
        stage.say(storescp.INSTALL)
        return
    found: dict[int, Measured] = defaultdict(Measured)
    with storescp.Storescp(stage.new_folder("storescp"), keep=True) as server:
        receiver = Receiver("storescp", storescp.AE_TITLE, server.port, server.pid)
        for _ in range(stage.repetitions):
            for number in ASSOCIATIONS:
                kind = Kind(BLAST, number)
                stage.say(f"{kind} to {receiver.name}")
                send(stage, receiver, kind, found[number])
    for number, measured in found.items():
        yield Figure(name=f"client-limit/{number}/{BLAST}", unit="images/s", values=measured.images)


def send(stage: Stage, receiver: Receiver, kind: Kind, measured: Measured) -> None:
    """Send a new study once and add what was measured."""
    slices = stage.study()
    os.sync()  # what others left to write is not ours to wait for
    before = cpu_seconds(receiver.pid)
    if kind.client == BLAST:
        run = blast(receiver.port, receiver.ae_title, slices, kind.associations)
        seconds = run.seconds
        measured.latencies.append(run.latencies)
    else:
        seconds = storescu.storescu(
            receiver.port, receiver.ae_title, slices, stage.folder, associations=kind.associations
        )
    measured.cpu.append((cpu_seconds(receiver.pid) - before) / len(slices) * 1e3)
    measured.images.append(len(slices) / seconds)
    measured.megabytes.append(sum(each.size for each in slices) / seconds / 1e6)


def _figures(kind: Kind, found: Mapping[str, Measured]) -> Iterator[Figure]:
    ours, peer = found[MEDBUS], found.get(orthanc.NAME, Measured())
    for name, unit, values, peer_values in (
        ("images", "images/s", ours.images, peer.images),
        ("bytes", "MB/s", ours.megabytes, peer.megabytes),
        ("cpu", "ms/image", ours.cpu, peer.cpu),
    ):
        yield Figure(
            name=f"{kind}/{name}", unit=unit, values=values, peer=orthanc.NAME, peer_values=peer_values
        )
    if ours.latencies:
        yield from percentiles(f"{kind}/answer", ours.latencies, peer=orthanc.NAME, peer_runs=peer.latencies)
