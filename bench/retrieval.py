"""A study back out of the service and of Orthanc: by C-GET, and by C-MOVE to a storescp that forgets it."""

from collections import defaultdict
from collections.abc import Iterator

from bench import orthanc
from bench.association import PeerFailed
from bench.blast import blast
from bench.figure import Figure
from bench.ingest import MEDBUS, receivers
from bench.retrieve import c_get, c_move
from bench.stage import Stage

C_GET, C_MOVE = "c-get", "c-move"


def retrieval(stage: Stage) -> Iterator[Figure]:
    """C-GET and C-MOVE of a study over one association."""
    slices = stage.study()
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    sources = receivers(stage)
    for source in sources:
        blast(source.port, source.ae_title, slices, associations=2)
    study = slices[0].study_instance_uid
    # The first is not counted: it warms up.
    for repetition in range(stage.repetitions + 1):
        for source in sources:
            stage.say(f"retrieving {len(slices)} images from {source.name}")
            got = c_get(source.port, source.ae_title, study)
            if got.images != len(slices):
                raise PeerFailed(f"{source.name} sent {got.images} of {len(slices)} images.")
            if repetition > 0:
                found[C_GET, source.name].append(got.images_per_second)
            for destination in stage.destinations:
                seconds = c_move(source.port, source.ae_title, study, destination)
                if repetition > 0:
                    found[C_MOVE, source.name].append(len(slices) / seconds)
    for way in (C_GET, C_MOVE) if stage.destinations else (C_GET,):
        yield Figure(
            name=f"{way}/images",
            unit="images/s",
            values=found[way, MEDBUS],
            peer=orthanc.NAME,
            peer_values=found.get((way, orthanc.NAME), ()),
        )
    stage.service.verify()
