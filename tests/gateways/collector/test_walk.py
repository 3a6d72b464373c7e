"""Which files of a watched folder are looked into."""

import os
from pathlib import Path

from tests.synthetic import series

from medbus.gateways.collector.folder import candidates, walk
from medbus.gateways.collector.memory import Memory


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    [file] = series(outside, 1)
    inside.mkdir()
    (inside / "folder").symlink_to(outside)
    (inside / "file.dcm").symlink_to(file)
    (inside / "round").symlink_to(inside)
    os.mkfifo(inside / "pipe")
    (inside / "own.dcm").write_bytes(file.read_bytes())
    assert [Path(each.path).name for each in walk(inside)] == ["own.dcm"]


def test_what_is_done_with_is_forgotten_when_it_is_gone(tmp_path: Path) -> None:
    one, other = series(tmp_path, 2)
    memory = Memory(1.0)
    first = candidates(tmp_path, memory, 0.0, 10)
    assert {each.path for each in first.files} == {str(one), str(other)}
    memory.files = {hash(each) for each in first.files}
    assert candidates(tmp_path, memory, 0.0, 10).files == []
    one.unlink()
    assert candidates(tmp_path, memory, 0.0, 10).seen == 1
    assert len(memory.files) == 1
    other.write_bytes(b"changed")
    assert [each.path for each in candidates(tmp_path, memory, 0.0, 10).files] == [str(other)]
