"""The clients against the sink: every image is answered once it is where it is to be."""

from itertools import islice
from pathlib import Path

import pytest
from bench import fill, sink
from bench.blast import blast
from bench.crowd import crowd
from bench.fill import Filled
from bench.series import Series, small
from bench.sink import Sink


@pytest.mark.parametrize("how", sink.LIMITS)
def test_what_is_sent_is_taken_and_removed_again(tmp_path: Path, how: str) -> None:
    slices = Series(tmp_path, count=4).study("one")
    folder = tmp_path / "sink"
    folder.mkdir()
    with Sink(folder, how) as server:
        run = blast(server.port, sink.AE_TITLE, slices, associations=2)
    assert {image.sop_instance_uid for image in run.images} == {each.sop_instance_uid for each in slices}
    assert run.size == sum(each.size for each in slices)
    assert [path.name for path in folder.iterdir()] == ["sink.log"]


@pytest.mark.parametrize("sync", [sink.OWN_FILE, sink.APPEND])
def test_an_image_is_in_its_place_when_it_is_finished(tmp_path: Path, sync: str) -> None:
    place = sink.place(sync, tmp_path)
    content = bytes(range(256)) * 33
    for part in (content[:5000], content[5000:]):
        place.write(memoryview(part))
    place.finish()
    [file] = tmp_path.iterdir()
    assert file.read_bytes()[: len(content)] == content
    place.close()
    assert list(tmp_path.iterdir()) == []


def test_a_crowd_sends_over_all_its_associations_at_once(tmp_path: Path) -> None:
    slices = list(islice(fill.images(small(tmp_path), "one"), 50))
    with Sink(tmp_path) as server:
        run = crowd(server.port, sink.AE_TITLE, slices, associations=20)
    assert {image.sop_instance_uid for image in run.images} == {each.sop_instance_uid for each in slices}
    assert all(image.answered > image.sent for image in run.images)


def test_filling_ends_at_the_count_and_says_how_far_it_is(tmp_path: Path) -> None:
    told: list[Filled] = []
    with Sink(tmp_path) as server:
        done = fill.fill((server.port, sink.AE_TITLE), small(tmp_path), 1_001, watch=told.append)
    assert done.images == 1_001
    assert told[-1] == done
    assert [each.images for each in told] == sorted(each.images for each in told)


def test_filling_ends_with_the_time(tmp_path: Path) -> None:
    with Sink(tmp_path) as server:
        done = fill.fill((server.port, sink.AE_TITLE), small(tmp_path), 10**9, seconds=0.2)
    assert 0 < done.images < 10**6
