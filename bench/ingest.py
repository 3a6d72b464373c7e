"""C-STORE into the whole service and into Orthanc: both warm, in turns, each image new to both.

Success means the same at both: image and index entry are on the disk. While one is measured the other idles;
what ours costs then is the figure `idle/cpu`. In between the same client sends to sinks, which do nothing but
put the images on the disk: the limit.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from bench import orthanc, service, sink, storescp, storescu
from bench.blast import blast
from bench.crowd import crowd
from bench.figure import Figure, Target, at_least, percentiles
from bench.process import cpu_seconds, resident_megabytes
from bench.stage import Stage

ASSOCIATIONS = (1, 4)
CROWD = 100
MEDBUS = "medbus"
BLAST, STORESCU = "blast", "storescu"
TIMES_ORTHANC = 3.0
GATEWAY_CPU = Target(0.7, at_most=True)
SETTLE_SECONDS = 0.3
"""What a server still does after its last answer is counted as well."""


class Receiver(NamedTuple):
    """A server to send to; `gateways` are the processes of ours that speak DICOM."""

    name: str
    ae_title: str
    port: int
    pid: int
    gateways: Sequence[int] = ()


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
    gateway_cpu: list[float] = field(default_factory=list)
    latencies: list[list[float]] = field(default_factory=list)


def receivers(stage: Stage) -> list[Receiver]:
    """Ours, and the peer where it is installed."""
    ours = stage.service
    found = [Receiver(MEDBUS, service.AE_TITLE, ours.port, ours.pid, ours.gateways)]
    if (peer := stage.orthanc) is not None:
        found.append(Receiver(orthanc.NAME, orthanc.AE_TITLE, peer.port, peer.pid))
    return found


def ingest(stage: Stage) -> Iterator[Figure]:
    """C-STORE over one and four associations by a client that costs nothing and by DCMTK's storescu, CPU and
    memory; and the limit of the disk."""
    all_ = receivers(stage)
    for receiver in all_:
        stage.say(f"warming up {receiver.name}")
        blast(receiver.port, receiver.ae_title, stage.study()[:50], associations=2)
    clients = [BLAST, STORESCU] if storescu.installed() else [BLAST]
    if STORESCU not in clients:
        stage.say(storescu.INSTALL)
    found: dict[Kind, dict[str, Measured]] = defaultdict(lambda: defaultdict(Measured))
    with ExitStack() as stack:
        sinks = {how: stack.enter_context(sink.Sink(stage.new_folder(how), how)) for how in sink.LIMITS}
        limits = [Receiver(how, sink.AE_TITLE, each.port, each.pid) for how, each in sinks.items()]
        for repetition in range(1, stage.repetitions + 1):
            for kind in (Kind(client, number) for client in clients for number in ASSOCIATIONS):
                for receiver in [*all_, *limits] if kind.client == BLAST else all_:
                    stage.say(f"{kind} to {receiver.name} ({repetition} of {stage.repetitions})")
                    send(stage, receiver, kind, found[kind][receiver.name])
    for kind, by_server in found.items():
        yield from _figures(kind, by_server)
    yield from _memory(stage)
    stage.service.verify()


def many_associations(stage: Stage) -> Iterator[Figure]:
    """C-STORE over a hundred associations at once, all of which are open before the first image is sent."""
    found = Measured()
    (ours, *_) = receivers(stage)
    for repetition in range(1, stage.repetitions + 1):
        slices = stage.study()
        stage.say(f"{CROWD} associations to {ours.name} ({repetition} of {stage.repetitions})")
        os.sync()
        run = crowd(ours.port, ours.ae_title, slices, CROWD)
        found.images.append(run.images_per_second)
        found.latencies.append(run.latencies)
    yield Figure(name=f"c-store/{CROWD}/{BLAST}/images", unit="images/s", values=found.images)
    yield from percentiles(f"c-store/{CROWD}/{BLAST}/answer", found.latencies)
    stage.service.verify()


def client_limit(stage: Stage) -> Iterator[Figure]:
    """How fast the client is: against storescp, which writes files and neither syncs nor indexes."""
    if not storescp.installed():
        stage.say(storescp.INSTALL)
        return
    found: dict[int, Measured] = defaultdict(Measured)
    with storescp.Storescp(stage.new_folder("storescp")) as server:
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
    before = _cpu(receiver)
    if kind.client == BLAST:
        run = blast(receiver.port, receiver.ae_title, slices, kind.associations)
        seconds = run.seconds
        measured.latencies.append(run.latencies)
    else:
        seconds = storescu.storescu(
            receiver.port, receiver.ae_title, slices, stage.folder, associations=kind.associations
        )
    time.sleep(SETTLE_SECONDS)
    all_, gateway = (
        (then - now) / len(slices) * 1e3 for now, then in zip(before, _cpu(receiver), strict=True)
    )
    measured.cpu.append(all_)
    measured.gateway_cpu.append(gateway)
    measured.images.append(len(slices) / seconds)
    measured.megabytes.append(sum(each.size for each in slices) / seconds / 1e6)


def _cpu(receiver: Receiver) -> tuple[float, float]:
    """Seconds of all processes and of those that speak DICOM."""
    return cpu_seconds(receiver.pid), sum(map(cpu_seconds, receiver.gateways))


def _figures(kind: Kind, found: Mapping[str, Measured]) -> Iterator[Figure]:
    ours, peer = found[MEDBUS], found.get(orthanc.NAME, Measured())
    target = at_least(TIMES_ORTHANC, peer.images) if kind.client == BLAST else None
    for name, unit, values, peer_values, bound in (
        ("images", "images/s", ours.images, peer.images, target),
        ("bytes", "MB/s", ours.megabytes, peer.megabytes, None),
        ("cpu", "ms/image", ours.cpu, peer.cpu, None),
        ("cpu/gateway", "ms/image", ours.gateway_cpu, peer.cpu, GATEWAY_CPU if target else None),
    ):
        yield Figure(
            name=f"{kind}/{name}",
            unit=unit,
            values=values,
            peer=orthanc.NAME,
            peer_values=peer_values,
            target=bound,
        )
    if ours.latencies:
        yield from percentiles(f"{kind}/answer", ours.latencies, peer=orthanc.NAME, peer_runs=peer.latencies)
    for how, what in sink.LIMITS.items():
        if how in found:
            yield Figure(
                name=f"{kind}/of-limit/{how}",
                unit="images/s",
                values=ours.images,
                peer=what,
                peer_values=found[how].images,
            )


def _memory(stage: Stage) -> Iterator[Figure]:
    peaks = {name: resident_megabytes(pid)[1] for name, pid in stage.service.pids.items()}
    for name, peak in peaks.items():
        yield Figure(name=f"memory/ingest/{name}/peak", unit="MB", values=[peak])
    yield Figure(
        name="memory/ingest/all/peak",
        unit="MB",
        values=[sum(peaks.values())],
        peer=orthanc.NAME,
        peer_values=[] if stage.orthanc is None else [resident_megabytes(stage.orthanc.pid)[1]],
    )
