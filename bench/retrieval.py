"""A study back out of the service, of Orthanc and of dcmqrscp: by C-GET, by C-MOVE to a sink that forgets it;
and queries."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from bench import dcmqrscp, getscu, orthanc, query, sink
from bench.blast import blast
from bench.figure import Figure, at_least, percentiles
from bench.inflow import PeerFailed
from bench.ingest import MEDBUS, Receiver, receivers
from bench.process import cpu_seconds
from bench.query import Found, c_find
from bench.retrieve import c_get, c_move
from bench.stage import Stage

C_GET, C_MOVE = "c-get", "c-move"
C_GET_DCMTK, C_MOVE_DCMTK = "c-get/getscu", "c-move/movescu"
WAYS = (C_GET, C_MOVE, C_GET_DCMTK, C_MOVE_DCMTK)
ANSWERS = 200
STUDY_MS, ANSWERS_MS = 1.5, 10.0


def sources(stage: Stage) -> list[Receiver]:
    """Ours, and the peers that are installed."""
    found = receivers(stage)
    if (peer := stage.dcmqrscp) is not None:
        found.append(Receiver(dcmqrscp.NAME, dcmqrscp.AE_TITLE, peer.port, peer.pid))
    return found


def retrieval(stage: Stage) -> Iterator[Figure]:
    """C-GET and C-MOVE of a study over one association, by a client that costs little and by DCMTK's."""
    slices = stage.study()
    study = slices[0].study_instance_uid
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    cpu: dict[tuple[str, str], list[float]] = defaultdict(list)
    all_ = sources(stage)
    for source in all_:
        blast(source.port, source.ae_title, slices)
    ways = WAYS if getscu.installed() else WAYS[:2]
    if ways != WAYS:
        stage.say(getscu.INSTALL)
    # The first is not counted: it warms up.
    for repetition in range(stage.repetitions + 1):
        for way in ways:
            for source in all_:
                stage.say(f"{way} of {len(slices)} images from {source.name}")
                before = cpu_seconds(source.pid)
                seconds = retrieve(way, source, study, len(slices))
                if repetition > 0:
                    rates[way, source.name].append(len(slices) / seconds)
                    cpu[way, source.name].append((cpu_seconds(source.pid) - before) / len(slices) * 1e3)
    for way in ways:
        for peer, name in ((orthanc.NAME, "images"), (dcmqrscp.NAME, f"images/beside-{dcmqrscp.NAME}")):
            yield Figure(
                name=f"{way}/{name}",
                unit="images/s",
                values=rates[way, MEDBUS],
                peer=peer,
                peer_values=rates[way, peer],
                target=at_least(1.0, rates[way, peer]) if peer == dcmqrscp.NAME else None,
            )
        yield Figure(
            name=f"{way}/cpu",
            unit="ms/image",
            values=cpu[way, MEDBUS],
            peer=orthanc.NAME,
            peer_values=cpu[way, orthanc.NAME],
        )
    stage.service.verify()


def retrieve(way: str, source: Receiver, study: str, images: int) -> float:
    """Retrieve a study of so many images once; returns the seconds that it took.

    Raises:
        PeerFailed: it was not sent as a whole.
    """
    if way == C_GET_DCMTK:
        return getscu.getscu(source.port, source.ae_title, study)
    if way == C_MOVE_DCMTK:
        return getscu.movescu(source.port, source.ae_title, study, sink.AE_TITLE)
    if way == C_GET:
        sent = c_get(source.port, source.ae_title, study)
    else:
        sent = c_move(source.port, source.ae_title, study, sink.AE_TITLE)
    if sent.images != images:
        raise PeerFailed(f"{source.name} sent {sent.images} of {images} images.")
    return sent.seconds


def find(stage: Stage) -> Iterator[Figure]:
    """C-FIND of one study, and of the 200 images of a series, one query at a time over one association."""
    slices = [each for each, _ in zip(stage.small_images(), range(ANSWERS), strict=False)]
    all_ = receivers(stage)
    for source in all_:
        blast(source.port, source.ae_title, slices)
    study, series, _ = slices[0].new
    queries = {
        "study": (query.of_study(study), 1, stage.size.requests, STUDY_MS),
        f"images-{ANSWERS}": (query.of_images(study, series), ANSWERS, stage.size.requests // 10, ANSWERS_MS),
    }
    for name, (identifier, answers, times, bound) in queries.items():
        found: dict[str, list[list[float]]] = defaultdict(list)
        for repetition in range(stage.repetitions + 1):
            for source in all_:
                stage.say(f"{times} queries to {source.name} for {name}")
                asked = c_find(source.port, source.ae_title, identifier, times)
                _check(source, asked, answers)
                if repetition > 0:  # the first warms up
                    found[source.name].append([each.seconds for each in asked])
        yield from percentiles(
            f"c-find/{name}",
            found[MEDBUS],
            peer=orthanc.NAME,
            peer_runs=found[orthanc.NAME],
            p50_target=bound,
        )
    stage.service.verify()


def _check(source: Receiver, asked: Sequence[Found], answers: int) -> None:
    if wrong := [each.answers for each in asked if each.answers != answers]:
        raise PeerFailed(f"{source.name} gave {wrong[0]} answers; {answers} are right.")
