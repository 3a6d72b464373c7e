"""`medbus process` without a service: it explains itself, and nothing wrong is sent."""

import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import synthetic
from tests.compose.commands import command

from medbus.compose.cli.explaining import bounds
from medbus.compose.cli.sending import Sent
from medbus.compose.cli.several import spread
from medbus.streams.processing.asked import GENERAL
from medbus.streams.processing.pixels.catalogue import OPERATIONS

NOWHERE = ("--url", "http://127.0.0.1:1")
UID = "1.2.840.1"

SEVERAL = {"--image", "--series", "--study", "--file", "--mask-image", "--mask-series", "--mask-file", "--to"}


def test_all_types_are_listed(tmp_path: Path) -> None:
    done = command(tmp_path, "process", "--list")
    assert done.code == 0
    for name, operation in OPERATIONS.items():
        [line] = [each for each in done.out.splitlines() if each.startswith(f"│ {name} ")]
        assert operation.title in line
        assert ("images, masks" in line) == (operation.inputs == 2)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_type_explains_every_parameter(tmp_path: Path, name: str) -> None:
    operation = OPERATIONS[name]
    done = command(tmp_path, "process", name, "--explain")
    assert done.code == 0
    told = " ".join(done.out.split())
    assert " ".join(operation.text.split()) in told
    for each in (*operation.parameters, *GENERAL):
        [line] = [line for line in done.out.splitlines() if line.startswith(f"│ {each.name} ")]
        assert each.unit in line
        assert ("must be given" if each.required else each.default or "none") in line
        assert bounds(each) in line


def test_programs_are_told_the_same(tmp_path: Path) -> None:
    listed = [json.loads(line) for line in command(tmp_path, "process", "--list", "--json").out.splitlines()]
    assert [each["type"] for each in listed] == list(OPERATIONS)
    [explained] = command(tmp_path, "process", "canny", "--explain", "--json").out.splitlines()
    assert json.loads(explained) in listed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Nothing says what is to be done"),
        (("polish", "--image", UID), "no processing type 'polish'"),
        (("polish", "--explain"), "no processing type 'polish'"),
        (("gaussian", "--image", UID), "gaussian needs sigma"),
        (("gaussian", "sigma=-1", "--image", UID), "sigma can't be -1 mm"),
        (("gaussian", "sigma=two", "--image", UID), "sigma can't be 'two'"),
        (("gaussian", "sigma=1", "width=3", "--image", UID), "no parameter 'width'"),
        (("gaussian", "sigma", "--image", UID), "'sigma' is no parameter"),
        (("gaussian", "sigma=1", "sigma=2", "--image", UID), "sigma is given twice"),
        (("gaussian", "sigma=1"), "no images to process"),
        (("gaussian", "sigma=1", "--image", "scan"), "'scan' is no UID"),
        (("gaussian", "sigma=1", "--image", UID, "--mask-image", UID), "gaussian takes no masks"),
        (("subtract", "--image", UID), "subtract needs masks"),
        (("gaussian", "sigma=1", "--image", UID, "--keep", "all"), "--keep can't be 'all'"),
        (("gaussian", "sigma=1", "--image", UID, "--answer", "unspecified"), "--answer can't be"),
        (("gaussian", "sigma=1", "--file", "nothing.dcm"), "no file or folder nothing.dcm"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("MEDBUS_TOKEN", "secret")
    done = command(tmp_path, "process", *words, *NOWHERE)
    assert (done.code, done.out) == (1, "")
    assert said in " ".join(done.err.split())


def test_a_folder_without_images_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBUS_TOKEN", "secret")
    (tmp_path / "note.txt").write_text("no image")
    for path, said in ((tmp_path, "There are no DICOM files in"), (tmp_path / "note.txt", "no DICOM file")):
        done = command(tmp_path, "process", "gaussian", "sigma=1", "--file", str(path), *NOWHERE)
        assert (done.code, said in " ".join(done.err.split())) == (1, True), done.err


def test_without_a_gateway_it_says_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBUS_TOKEN", "secret")
    for words in (("process", "gaussian", "sigma=1", "--image", UID), ("result", "list")):
        done = command(tmp_path, *words)
        assert (done.code, "Name one with --url" in done.err) == (1, True)
        done = command(tmp_path, *words, *NOWHERE)
        assert (done.code, "does not answer" in done.err) == (1, True)
        assert "secret" not in done.out + done.err


def test_options_take_several_values_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b").touch()
    several = SEVERAL
    for words, expected in (
        ("gaussian sigma=2 --image 1.2 1.3 --wait", "gaussian sigma=2 --image 1.2 --image 1.3 --wait"),
        ("gaussian --image 1.2 1.3 sigma=2 x", "gaussian --image 1.2 --image 1.3 sigma=2 x"),
        ("mip --file a b --to c d", "mip --file a --file b --to c --to d"),
        ("mip --file a=b a=b a=c", "mip --file a=b --file a=b a=c"),
        ("mip --image 1 --image 2 3", "mip --image 1 --image 2 --image 3"),
        ("mip --image 1 -- 2 3", "mip --image 1 -- 2 3"),
        ("mip --server 1 2", "mip --server 1 2"),
        ("mip --image=1 2", "mip --image=1 2"),
    ):
        assert spread(words.split(), several) == expected.split()


@given(st.lists(st.sampled_from(["--image", "--to", "--wait", "--", "1.2", "a", "sigma=2", ""])))
def test_words_are_never_lost_and_spreading_is_once_and_for_all(words: list[str]) -> None:
    several = SEVERAL
    done = spread(words, several)
    assert [each for each in done if each not in several] == [each for each in words if each not in several]
    assert spread(done, several) == done


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 250), st.integers(1, 250)), max_size=5))
def test_a_file_is_read_as_if_it_were_open(content: bytes, reads: list[tuple[int, int]]) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"medbus-{os.getpid()}.bin"  # noqa: S108
    path.write_bytes(content)
    try:
        ends: list[int] = []
        with Sent(path, lambda: ends.append(1)) as sent, path.open("rb") as plain:
            assert sent.seek(0, io.SEEK_END) == len(content)
            for position, count in reads:
                assert (sent.seek(position), sent.read(count)) == (plain.seek(position), plain.read(count))
            sent.seek(0)
            ends.clear()
            assert sent.read() == content
            assert ends == [1]
    finally:
        path.unlink()


def test_a_file_is_open_only_while_it_is_read(tmp_path: Path) -> None:
    path = synthetic.write(synthetic.ct(), tmp_path)
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("the system does not tell what is open")

    def opened() -> int:
        return sum(each.resolve() == path.resolve() for each in descriptors.iterdir())

    sent = Sent(path, lambda: None)
    assert opened() == 0
    sent.read(10)
    assert opened() == 1
    while sent.read(100):
        pass
    assert opened() == 0
