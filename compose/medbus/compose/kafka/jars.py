"""The jars of the broker: fetched once into a cache that all homes share, and checked against the lock file.

The lock names every jar with its version and SHA-256 digest, so at run time nothing is resolved: jgo
downloads each jar that is missing, and each is checked at every start (35 ms for all of them, so no
record of earlier checks is kept that could be wrong).
"""

import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

from medbus.compose.kafka.errors import JarDigestMismatch, RegistryUnreachable
from medbus.compose.kafka.jarlock import DOWNLOADS_AT_ONCE, TIMEOUT_SECONDS, LockedJar, digest, locked_jars

log = logging.getLogger(__name__)

DOWNLOAD_TRIES = 3
LOCK_PATIENCE_SECONDS = 900.0

Progress = Callable[[int, int], None]
"""Told after each download how many of how many jars there are now."""


def jar_cache() -> Path:
    """The folder that all homes share.

    ``$MEDBUS_CACHE/jars`` if that is set, else that of jgo: ``$M2_REPO``, its configuration,
    ``~/.m2/repository``.
    """
    own = os.environ.get("MEDBUS_CACHE")
    return Path(own).expanduser().absolute() / "jars" if own else GlobalSettings.load().repo_cache


def registries() -> dict[str, str]:
    """Maven Central, and the repositories (mirrors) of jgo's configuration file."""
    return {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}


def fetch_jars(
    *,
    jars: Sequence[LockedJar] | None = None,
    cache: Path | None = None,
    repositories: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> list[Path]:
    """All jars, in the cache and verified. With a warm cache no network is used and nothing is written.

    Args:
        jars: what to fetch; those of the lock file if not given.
        cache: where to keep them; see :func:`jar_cache`.
        repositories: name to URL of Maven repositories; see :func:`registries`.
        progress: told of each download.
        cancel: when set, no further download is begun.

    Raises:
        RegistryUnreachable: a jar is missing and can't be downloaded.
        JarDigestMismatch: a jar, in the cache or downloaded, has another digest than the lock says.
    """
    jars = locked_jars() if jars is None else jars
    cache = jar_cache() if cache is None else cache
    paths = [cache / jar.path for jar in jars]
    if not missing(jars, cache):
        return paths
    repositories = registries() if repositories is None else repositories
    cancel = cancel or threading.Event()
    with cache_lock(cache, cancel), staging_folder(cache) as staging:
        # Another process may have fetched them while this one waited.
        wanted = missing(jars, cache)
        log.info("fetching %d of the broker's %d jars into %s", len(wanted), len(jars), cache)
        context = MavenContext(repo_cache=staging, remote_repos=dict(repositories), timeout=TIMEOUT_SECONDS)

        def fetch(jar: LockedJar) -> None:
            refuse_cancelled(cancel)
            install(jar, download(jar, context, cache), cache)

        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            try:
                for done, _ in enumerate(pool.map(fetch, wanted), len(jars) - len(wanted) + 1):
                    if progress:
                        progress(done, len(jars))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return paths


def missing(jars: Sequence[LockedJar], cache: Path) -> list[LockedJar]:
    """The jars that are not in the cache, or not as they should be (a download that was broken off)."""
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        digests = list(pool.map(lambda jar: digest(cache / jar.path), jars))
    return [jar for jar, found in zip(jars, digests, strict=True) if found != jar.sha256]


def download(jar: LockedJar, context: MavenContext, cache: Path) -> Path:
    """Download one jar into the context's own folder.

    Raises:
        RegistryUnreachable: it can't be had.
        JarDigestMismatch: it can't be had, and the one in the cache is not right.
    """
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    target = context.repo_cache / jar.path
    for attempt in range(1, DOWNLOAD_TRIES + 1):
        target.unlink(missing_ok=True)
        try:
            # jgo's own check against the registry's SHA-1 only warns; install() is what decides.
            context.resolver.download(artifact)
        except (requests.RequestException, RuntimeError, OSError) as error:
            log.debug("download %d of %s failed: %s", attempt, jar, error)
            if attempt < DOWNLOAD_TRIES:
                time.sleep(attempt / 2)
                continue
            if (cache / jar.path).exists():
                raise mismatch(jar, cache / jar.path, f"in {cache}") from error
            raise RegistryUnreachable(
                f"The Kafka broker's {jar} is not in {cache} and could not be downloaded: {reason(error)}.",
                "Connect to the network once; or name a Maven mirror under [repositories] in jgo's "
                "configuration file (~/.config/jgo.conf); or copy that folder from a machine that has them.",
            ) from error
        else:
            break
    return target


def reason(error: Exception) -> str:
    """Why a download failed, in a few words."""
    if isinstance(error, requests.ConnectionError):
        return "the package registry can't be reached"
    if isinstance(error, requests.Timeout):
        return f"the package registry did not answer within {TIMEOUT_SECONDS} s"
    return str(error)


def install(jar: LockedJar, fetched: Path, cache: Path) -> None:
    """Move a downloaded jar into the cache, if it is the right one.

    Raises:
        JarDigestMismatch: it is not; the cache is unchanged.
    """
    if digest(fetched) != jar.sha256:
        raise mismatch(jar, fetched, "as it was downloaded")
    target = cache / jar.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fetched.replace(target)
    except OSError as error:
        raise unwritable(cache, error) from error


def mismatch(jar: LockedJar, path: Path, where: str) -> JarDigestMismatch:
    """The error for a jar with the wrong digest."""
    return JarDigestMismatch(
        f"{jar} {where} is not the jar that was locked: its SHA-256 is {digest(path)}, not {jar.sha256}.",
        "It is not run. A broken copy in the cache is replaced when the package registry can be reached; "
        "if the download itself differs, ask whoever runs the mirror or proxy that it came through.",
    )


def unwritable(cache: Path, error: OSError) -> RegistryUnreachable:
    """The error for a cache that jars can't be put into."""
    return RegistryUnreachable(
        f"The Kafka broker's jars are not all in {cache}, which can't be written to: {error.strerror}.",
        "Set MEDBUS_CACHE to a folder that can be written to.",
    )


@contextmanager
def cache_lock(cache: Path, cancel: threading.Event) -> Iterator[None]:
    """Be the only process that fetches into the cache."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / ".medbus.lock").open("w")
    except OSError as error:
        raise unwritable(cache, error) from error
    with lock:
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                refuse_cancelled(cancel)
                if time.monotonic() > deadline:
                    raise RegistryUnreachable(
                        f"Another process has been fetching the broker's jars into {cache} for "
                        f"{LOCK_PATIENCE_SECONDS:.0f} s.",
                        "End it, or set MEDBUS_CACHE to another folder.",
                    ) from None
                time.sleep(0.1)
        yield


@contextmanager
def staging_folder(cache: Path) -> Iterator[Path]:
    """A folder beside the jars for what is being downloaded; only for who holds the cache's lock."""
    folder = cache / ".medbus-staging"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_cancelled(cancel: threading.Event) -> None:
    """Raise if nobody waits for the jars any more."""
    if cancel.is_set():
        raise RegistryUnreachable("Fetching the Kafka broker's jars was broken off.", "Start again.")
