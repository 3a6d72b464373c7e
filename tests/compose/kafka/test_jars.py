"""The jars come from where they may, are what was reviewed, and are fetched once."""

import functools
import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from medbus.compose.kafka import JarDigestMismatch, JarLockInvalid, RegistryUnreachable
from medbus.compose.kafka.jarlock import KAFKA, LOCK_FILE, LockedJar, locked_jars, parse_lock, render_lock
from medbus.compose.kafka.jars import fetch_jars, jar_cache

NOWHERE = {"nowhere": "http://127.0.0.1:9/maven"}
"""Port 9 is nobody's: a registry that can't be reached."""


class Registry(http.server.SimpleHTTPRequestHandler):
    """A Maven repository on this machine that remembers what it was asked for."""

    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        """Serve a file."""
        type(self).asked.append(self.path)
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """What the registry has: six small jars."""
    for number in range(6):
        path = tmp_path / "content" / f"org/example/part{number}/1.0/part{number}-1.0.jar"
        path.parent.mkdir(parents=True)
        path.write_bytes(f"jar {number}".encode() * 1000)
    return tmp_path / "content"


@pytest.fixture
def jars() -> list[LockedJar]:
    """The lock for those jars."""
    return [
        LockedJar("org.example", f"part{n}", "1.0", hashlib.sha256(f"jar {n}".encode() * 1000).hexdigest())
        for n in range(6)
    ]


@pytest.fixture
def registry(content: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """A registry's address, and the list of what was asked of it."""

    class Handler(Registry):
        asked: ClassVar[list[str]] = []

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(content))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield {"local": f"http://127.0.0.1:{server.server_address[1]}"}, Handler.asked
    server.shutdown()
    thread.join()
    server.server_close()


def jar_requests(asked: list[str]) -> list[str]:
    return sorted(path for path in asked if path.endswith(".jar"))


def test_the_lock_names_kafka_and_is_written_as_it_is_read() -> None:
    jars = locked_jars()
    assert KAFKA in map(str, jars)
    assert render_lock(jars) == LOCK_FILE.read_text()
    assert len({(jar.group, jar.artifact) for jar in jars}) == len(jars)


def test_the_lock_holds_one_version_of_kafka() -> None:
    versions = {jar.version for jar in locked_jars() if jar.group == "org.apache.kafka"}
    assert versions == {KAFKA.rpartition(":")[2]}


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "org.example:part:1.0\n", "org.example:part:1.0 sha256:12ab\n", "a b c\n"]
)
def test_a_lock_that_can_not_be_read_is_an_error(text: str) -> None:
    with pytest.raises(JarLockInvalid) as caught:
        parse_lock(text)
    assert "python -m medbus.compose.kafka lock" in caught.value.advice


def test_missing_jars_are_fetched(
    tmp_path: Path, jars: list[LockedJar], registry: tuple[dict[str, str], list[str]]
) -> None:
    repositories, _ = registry
    seen: list[tuple[int, int]] = []
    cache = tmp_path / "cache"
    paths = fetch_jars(
        jars=jars, cache=cache, repositories=repositories, progress=lambda *now: seen.append(now)
    )
    assert [path.read_bytes()[:5] for path in paths] == [f"jar {n}".encode() for n in range(6)]
    assert seen == [(n, 6) for n in range(1, 7)]
    assert [path.name for path in cache.iterdir() if path.is_dir()] == ["org"]


def test_a_warm_cache_needs_no_network(
    tmp_path: Path, jars: list[LockedJar], registry: tuple[dict[str, str], list[str]]
) -> None:
    paths = fetch_jars(jars=jars, cache=tmp_path / "cache", repositories=registry[0])
    assert fetch_jars(jars=jars, cache=tmp_path / "cache", repositories=NOWHERE) == paths


def test_only_what_is_missing_or_broken_is_fetched(
    tmp_path: Path, jars: list[LockedJar], registry: tuple[dict[str, str], list[str]]
) -> None:
    repositories, asked = registry
    paths = fetch_jars(jars=jars, cache=tmp_path / "cache", repositories=repositories)
    asked.clear()
    paths[1].unlink()
    paths[4].write_bytes(paths[4].read_bytes()[:100])
    fetch_jars(jars=jars, cache=tmp_path / "cache", repositories=repositories)
    assert [path.rpartition("/")[2] for path in jar_requests(asked)] == ["part1-1.0.jar", "part4-1.0.jar"]
    assert paths[4].read_bytes() == b"jar 4" * 1000


def test_a_registry_out_of_reach_is_an_error_that_says_what_to_do(
    tmp_path: Path, jars: list[LockedJar]
) -> None:
    with pytest.raises(RegistryUnreachable, match="can't be reached") as caught:
        fetch_jars(jars=jars[:1], cache=tmp_path / "cache", repositories=NOWHERE)
    assert "org.example:part0:1.0" in caught.value.message
    assert "Connect to the network once" in caught.value.advice


def test_a_jar_that_no_registry_has_is_an_error(
    tmp_path: Path, registry: tuple[dict[str, str], list[str]]
) -> None:
    unknown = LockedJar("org.example", "unknown", "1.0", "0" * 64)
    with pytest.raises(RegistryUnreachable, match=r"org\.example:unknown:1\.0"):
        fetch_jars(jars=[unknown], cache=tmp_path / "cache", repositories=registry[0])


def test_a_download_that_was_not_locked_is_refused_and_not_kept(
    tmp_path: Path, jars: list[LockedJar], content: Path, registry: tuple[dict[str, str], list[str]]
) -> None:
    (content / jars[2].path).write_bytes(b"something else")
    cache = tmp_path / "cache"
    with pytest.raises(JarDigestMismatch, match=r"part2:1\.0 as it was downloaded") as caught:
        fetch_jars(jars=jars, cache=cache, repositories=registry[0])
    assert hashlib.sha256(b"something else").hexdigest() in caught.value.message
    assert not (cache / jars[2].path).exists()


def test_a_changed_jar_in_the_cache_is_refused_where_it_can_not_be_replaced(
    tmp_path: Path, jars: list[LockedJar], registry: tuple[dict[str, str], list[str]]
) -> None:
    paths = fetch_jars(jars=jars, cache=tmp_path / "cache", repositories=registry[0])
    paths[3].write_bytes(b"changed")
    with pytest.raises(JarDigestMismatch, match=f"part3:1.0 in {tmp_path}"):
        fetch_jars(jars=jars, cache=tmp_path / "cache", repositories=NOWHERE)


def test_a_cache_that_can_not_be_made_is_an_error(tmp_path: Path, jars: list[LockedJar]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryUnreachable) as caught:
        fetch_jars(jars=jars, cache=tmp_path / "file" / "cache", repositories=NOWHERE)
    assert "MEDBUS_CACHE" in caught.value.advice


def test_nothing_is_fetched_once_nobody_waits(
    tmp_path: Path, jars: list[LockedJar], registry: tuple[dict[str, str], list[str]]
) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(RegistryUnreachable, match="broken off"):
        fetch_jars(jars=jars, cache=tmp_path / "cache", repositories=registry[0], cancel=cancel)
    assert registry[1] == []


def test_two_processes_at_once_fetch_each_jar_once(
    tmp_path: Path, jars: list[LockedJar], registry: tuple[dict[str, str], list[str]]
) -> None:
    repositories, asked = registry
    (tmp_path / "lock").write_text(render_lock(jars))
    program = (
        "import sys; from pathlib import Path\n"
        "from medbus.compose.kafka.jarlock import parse_lock\n"
        "from medbus.compose.kafka.jars import fetch_jars\n"
        f"jars = parse_lock(Path({str(tmp_path / 'lock')!r}).read_text())\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        f"cache = Path({str(tmp_path / 'cache')!r})\n"
        f"print(len(fetch_jars(jars=jars, cache=cache, repositories={repositories})))"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in both] == ["6\n", "6\n"]
    assert jar_requests(asked) == sorted(f"/{jar.path}" for jar in jars)


def test_the_cache_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDBUS_CACHE", str(tmp_path))
    assert jar_cache() == tmp_path / "jars"
    monkeypatch.delenv("MEDBUS_CACHE")
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    assert jar_cache() == tmp_path / "m2"
