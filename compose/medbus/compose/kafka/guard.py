"""The guard: a small process that runs the Java machine and lets none outlive its parent.

Run by path with ``python -I -S``, so it knows the standard library only. Usage::

    guard.py PARENT_PID GRACE_SECONDS KEEP_FDS COMMAND...

``KEEP_FDS`` are file descriptors that the command inherits, joined by commas; ``-`` for none. On its
standard output the guard says ``pid N`` once the command runs and ``exit CODE`` when it has ended, or
``error TEXT`` if it can't be run. The command is asked to end (SIGTERM), and killed when the grace is
over, as soon as

- anything arrives on the standard input, or it closes: the parent asks, or has died in whatever way;
- the parent is no longer the guard's parent: it has died, but a child of its own still holds the pipe open;
- the guard gets a SIGTERM.

Where the system can do it (Linux), the kernel kills the command should the guard itself be killed.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
PARENT_CHECK_SECONDS = 1.0
STOP_CHECK_SECONDS = 0.1


def main(arguments: list[str]) -> int:
    """Run the command of ``arguments`` until it ends or has to end."""
    parent, grace = int(arguments[0]), float(arguments[1])
    keep = () if arguments[2] == "-" else tuple(int(fd) for fd in arguments[2].split(","))
    # The guard is in a session of its own, but a person may still send these by hand; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    wake = waker(signal.SIGTERM, signal.SIGCHLD)
    terminated: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: terminated.append(number))
    try:
        child = subprocess.Popen(
            arguments[3:],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=sys.stderr,
            pass_fds=keep,
            preexec_fn=kernel_kills_orphan(),  # noqa: PLW1509  the guard has one thread
        )
    except OSError as error:
        say(f"error {arguments[3]}: {error.strerror}")
        return 1
    say(f"pid {child.pid}")
    inputs = [0, wake]
    deadline = 0.0
    while child.poll() is None:
        wait = STOP_CHECK_SECONDS if deadline else PARENT_CHECK_SECONDS
        ready, _, _ = select.select(inputs, [], [], wait)
        if wake in ready:
            os.read(wake, 4096)
        if 0 in ready:
            os.read(0, 4096)
            inputs.remove(0)
        must_end = 0 not in inputs or terminated or os.getppid() != parent
        if must_end and not deadline:
            deadline = time.monotonic() + grace
            child.terminate()
        elif deadline and time.monotonic() > deadline:
            child.kill()
    say(f"exit {child.returncode}")
    return 0


def kernel_kills_orphan() -> Callable[[], None] | None:
    """What the child runs before the command: it asks the kernel to die with the guard (prctl(2))."""
    if not sys.platform.startswith("linux"):
        return None
    guard = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)

    return ask


def waker(*signals: signal.Signals) -> int:
    """A file descriptor that becomes readable when one of the signals arrives."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    signal.set_wakeup_fd(writer)
    for number in signals:
        signal.signal(number, lambda _number, _frame: None)
    return reader


def say(line: str) -> None:
    """Tell the parent, if there still is one."""
    with contextlib.suppress(OSError):
        os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
