"""The lock file of the broker's jars: which versions with which content were reviewed.

One line a jar. jgo's own lock file is not used: it belongs to an environment of links that jgo builds, which
is not checked against it when it is built or used, wants a second Java to sort the jars, and can't be had
without resolving; and the file holds the time of its writing, so that it differs each time.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jgo.maven import MavenContext

from medbus.compose.kafka.errors import JarLockInvalid

LOCK_FILE = Path(__file__).with_name("jars.lock")
KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
LOG4J = ("org.apache.logging.log4j", "log4j-core")
LOG4J_BINDING = ("org.apache.logging.log4j", "log4j-slf4j-impl")
"""Kafka logs through SLF4J 1.7; this is what brings that to Log4j. Kafka's own package list leaves it out."""

DOWNLOADS_AT_ONCE = 4
TIMEOUT_SECONDS = 30

HEADER = """\
# Every jar of the embedded Kafka broker: group:artifact:version and SHA-256.
# Written by `python -m medbus.compose.kafka lock`; review what changed before it is committed.
"""
NAME = r"[\w.-]+"
LINE = re.compile(
    rf"(?P<group>{NAME}):(?P<artifact>{NAME}):(?P<version>{NAME}) sha256:(?P<sha256>[0-9a-f]{{64}})"
)
REGENERATE = "Install medbus again, or write the file anew with: python -m medbus.compose.kafka lock"


@dataclass(frozen=True, order=True)
class LockedJar:
    """One jar that was reviewed."""

    group: str
    artifact: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def path(self) -> Path:
        """Where it stands below a Maven repository or its cache."""
        folder = Path(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}.jar"


def parse_lock(text: str) -> list[LockedJar]:
    """The jars of a lock file's text.

    Raises:
        JarLockInvalid: a line is not of the form ``group:artifact:version sha256:digest``, or there is none.
    """
    jars = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if not found:
            raise JarLockInvalid(f"Line {number} of the jar lock file can't be read: {line!r}.", REGENERATE)
        jars.append(LockedJar(**found.groupdict()))
    if not jars:
        raise JarLockInvalid("The jar lock file names no jar.", REGENERATE)
    return jars


def render_lock(jars: Sequence[LockedJar]) -> str:
    """The text of a lock file."""
    return HEADER + "".join(f"{jar} sha256:{jar.sha256}\n" for jar in sorted(jars))


def locked_jars() -> list[LockedJar]:
    """The jars that this version of medbus runs."""
    return parse_lock(LOCK_FILE.read_text(encoding="utf-8"))


def digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; empty if it can't be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def resolve_lock(repositories: Mapping[str, str]) -> list[LockedJar]:
    """Resolve Kafka's whole dependency graph anew, from an empty cache, with fresh digests."""
    staging = Path(tempfile.mkdtemp(prefix="medbus-lock-"))
    try:
        context = MavenContext(repo_cache=staging, remote_repos=dict(repositories), timeout=TIMEOUT_SECONDS)
        inputs, transitive = context.resolver.resolve([context.create_dependency(KAFKA)])
        run = [*inputs, *(found for found in transitive if found.scope in {"compile", "runtime"})]
        artifacts = [found.artifact for found in run if found.artifact.packaging == "jar"]
        # The binding alone, at the version that Kafka chose: resolved as a second root, its parent would also
        # decide the versions of Kafka's dependencies.
        version = next(found.version for found in artifacts if (found.groupId, found.artifactId) == LOG4J)
        artifacts.append(context.project(*LOG4J_BINDING).at_version(version).artifact())
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            files = list(pool.map(lambda found: Path(found.resolve()), artifacts))
        return sorted(
            LockedJar(found.groupId, found.artifactId, found.version, digest(file))
            for found, file in zip(artifacts, files, strict=True)
        )
    finally:
        shutil.rmtree(staging, ignore_errors=True)
