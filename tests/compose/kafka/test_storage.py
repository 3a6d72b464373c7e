"""What a data folder holds, and that nothing in it is ever lost by our doing."""

import re
from pathlib import Path

import pytest

from medbus.compose.kafka import StorageDamaged
from medbus.compose.kafka.storage import (
    StorageState,
    clean_storage,
    inspect_storage,
    new_cluster_id,
    read_meta,
)

META = "#\n#Wed Nov 25 02:54:02 UTC 2026\ncluster.id=AbCdEfGhIjKlMnOpQrStUw\nnode.id=1\nversion=1\n"


def write(data: Path, name: str, text: str = "x") -> None:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_folder_that_is_missing_or_has_no_file_is_empty(tmp_path: Path) -> None:
    assert inspect_storage(tmp_path / "none") is StorageState.EMPTY
    (tmp_path / "__cluster_metadata-0").mkdir()
    assert inspect_storage(tmp_path) is StorageState.EMPTY


def test_a_folder_with_its_meta_properties_is_formatted(tmp_path: Path) -> None:
    write(tmp_path, "meta.properties", META)
    write(tmp_path, "medbus.images-0/00000000000000000000.log")
    assert inspect_storage(tmp_path) is StorageState.FORMATTED
    assert read_meta(tmp_path)["cluster.id"] == "AbCdEfGhIjKlMnOpQrStUw"


@pytest.mark.parametrize(
    "left",
    [
        ["bootstrap.checkpoint"],
        ["bootstrap.checkpoint.tmp"],
        ["bootstrap.checkpoint", "meta.properties.tmp", ".lock"],
        ["__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"],
    ],
)
def test_what_an_interrupted_format_leaves_is_cleaned(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        write(tmp_path, name)
    assert inspect_storage(tmp_path) is StorageState.HALF_FORMATTED
    clean_storage(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("meta", ["", "\0\0\0\0", "version=1\n"])
def test_a_meta_properties_that_says_nothing_counts_as_missing(tmp_path: Path, meta: str) -> None:
    write(tmp_path, "meta.properties", meta)
    assert inspect_storage(tmp_path) is StorageState.HALF_FORMATTED
    write(tmp_path, "medbus.images-0/00000000000000000000.log")
    with pytest.raises(StorageDamaged):
        inspect_storage(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        "medbus.images-0/00000000000000000000.log",
        "__cluster_metadata-0/00000000000000000000.log",
        "recovery-point-offset-checkpoint",
        "notes.txt",
    ],
)
def test_data_without_meta_properties_is_refused_and_kept(tmp_path: Path, data: str) -> None:
    write(tmp_path, "bootstrap.checkpoint")
    write(tmp_path, data, "precious")
    with pytest.raises(StorageDamaged, match=re.escape(data)) as caught:
        inspect_storage(tmp_path)
    assert "Nothing was changed" in caught.value.advice
    with pytest.raises(StorageDamaged):
        clean_storage(tmp_path)
    assert (tmp_path / data).read_text() == "precious"


def test_cleaning_refuses_a_formatted_folder(tmp_path: Path) -> None:
    write(tmp_path, "meta.properties", META)
    with pytest.raises(StorageDamaged):
        clean_storage(tmp_path)
    assert (tmp_path / "meta.properties").read_text() == META


@pytest.mark.parametrize(
    ("ours", "theirs"), [("node.id=1", "node.id=7"), ("\nversion=1", "\nversion=2"), ("node.id=1\n", "")]
)
def test_the_data_of_another_kafka_is_refused(tmp_path: Path, ours: str, theirs: str) -> None:
    write(tmp_path, "meta.properties", META.replace(ours, theirs))
    with pytest.raises(StorageDamaged, match="belongs to another Kafka"):
        inspect_storage(tmp_path)


def test_a_cluster_id_is_kafkas_form_of_a_uuid() -> None:
    ids = {new_cluster_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", cluster_id) for cluster_id in ids)
