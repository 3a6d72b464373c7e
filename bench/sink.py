"""The limit of this machine: a receiver that only takes images and, if told so, puts them on the disk.

It speaks just enough DICOM that the same client can send to it as to a server: it checks nothing, keeps no
index, and answers every image with success when it is where it is to be. Each association has a process of
its own. It is the destination of C-MOVE as well.

    python -m bench.sink HOW FOLDER PORT
"""

import contextlib
import mmap
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Protocol

from bench import pdu
from bench.association import MAX_LENGTH
from bench.inflow import Inflow, PeerFailed
from bench.process import Server, free_port

AE_TITLE = "SINK"
FORGET, OWN_FILE, APPEND = "forget", "own-file", "append"
LIMITS = {
    FORGET: "received and forgotten",
    OWN_FILE: "a file for each, fsync",
    APPEND: "appended past the page cache, fdatasync",
}
"""What is done with an image before it is answered."""

BLOCK = 4096
"""Where direct writes begin and end."""

STEP = 256 << 20
"""So much room is reserved at once in what is appended to."""

LARGEST = 16 << 20
"""No image that is sent here is larger."""


class Sink(Server):
    """A sink of our own; use with `with`.

    Args:
        folder: of its log and files; it must be there.
        how: what is done with an image: FORGET, OWN_FILE or APPEND.
    """

    def __init__(self, folder: Path, how: str = FORGET) -> None:
        port = free_port()
        super().__init__(
            [sys.executable, "-m", "bench.sink", how, str(folder), str(port)],
            port=port,
            log=folder / "sink.log",
            environment={"PYTHONPATH": str(Path(__file__).parent.parent)},
        )


class Place(Protocol):
    """Where the images of an association go."""

    def write(self, data: memoryview) -> None:
        """Take a part of an image."""

    def finish(self) -> None:
        """The image has come as a whole; return when it is safe."""

    def close(self) -> None:
        """Remove everything."""


class Nowhere:
    """Forgets."""

    def write(self, data: memoryview) -> None:
        """Forget it."""

    def finish(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is there."""


class OwnFiles:
    """A file for each image, synced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self._files: list[Path] = []

    def write(self, data: memoryview) -> None:
        if self._descriptor < 0:
            self._files.append(self._folder / f"{os.getpid()}-{len(self._files)}")
            self._descriptor = os.open(self._files[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        while data:
            data = data[os.write(self._descriptor, data) :]

    def finish(self) -> None:
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1

    def close(self) -> None:
        for file in self._files:
            file.unlink()


class Appended:
    """One file for all images, written past the page cache where the system can do that."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            self._descriptor = os.open(self._file, flags | getattr(os, "O_DIRECT", 0))
        except OSError:  # a file system without it
            self._descriptor = os.open(self._file, flags & ~os.O_EXCL)
        self._sync = getattr(os, "fdatasync", os.fsync)
        self._buffer = memoryview(mmap.mmap(-1, LARGEST))  # begins at a page
        self._filled = 0
        self._offset = 0
        self._reserved = 0

    def write(self, data: memoryview) -> None:
        self._buffer[self._filled : self._filled + len(data)] = data
        self._filled += len(data)

    def finish(self) -> None:
        length = -(-self._filled // BLOCK) * BLOCK
        if self._offset + length > self._reserved:
            if reserve := getattr(os, "posix_fallocate", None):
                reserve(self._descriptor, self._reserved, STEP)
            self._reserved += STEP
        written = 0
        while written < length:
            written += os.pwrite(self._descriptor, self._buffer[written:length], self._offset + written)
        self._sync(self._descriptor)
        self._offset += length
        self._filled = 0

    def close(self) -> None:
        os.close(self._descriptor)
        self._file.unlink()


def place(how: str, folder: Path) -> Place:
    """Where the images of one association go."""
    if how == APPEND:
        return Appended(folder)
    return OwnFiles(folder) if how == OWN_FILE else Nowhere()


def serve(listening: socket.socket, how: str, folder: Path) -> None:
    """Take associations for ever, each in a process of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listening.accept()
        if os.fork():
            connection.close()
            continue
        try:
            with connection, contextlib.suppress(PeerFailed, ConnectionError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                take(connection, how, folder)
        finally:
            os._exit(0)


def take(connection: socket.socket, how: str, folder: Path) -> None:
    """Take what comes over an association until its end.

    Raises:
        PeerFailed: the peer closed the connection.
    """
    inflow = Inflow(connection)
    kind, body = inflow.receive()
    if kind != pdu.ASSOCIATE_RQ:
        return
    with contextlib.closing(place(how, folder)) as images:
        connection.sendall(pdu.associate_accept(bytes(body), MAX_LENGTH))
        command, request = b"", dict[int, bytes]()
        while True:
            kind, body = inflow.receive()
            if kind != pdu.P_DATA_TF:
                break
            for fragment in pdu.fragments(body):
                if not fragment.command:
                    images.write(fragment.data)
                    if fragment.last:
                        images.finish()
                        response = pdu.store_response(request)
                        connection.sendall(pdu.message(fragment.context, response, b"", MAX_LENGTH))
                    continue
                command += fragment.data
                if fragment.last:
                    request, command = pdu.read_command(command), b""
    if kind == pdu.RELEASE_RQ:
        connection.sendall(pdu.pdu(pdu.RELEASE_RP, bytes(4)))


def main() -> None:
    """Entry point."""
    how, folder, port = sys.argv[1:]
    with socket.create_server(("127.0.0.1", int(port)), backlog=128) as listening:
        serve(listening, how, Path(folder))


if __name__ == "__main__":
    main()
