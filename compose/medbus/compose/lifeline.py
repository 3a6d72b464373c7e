"""A child's tie to its parent: when the parent is gone, however it went, the child ends too."""

import os
import signal
import sys
import threading
import time


def hold(grace: float = 10.0) -> None:
    """End this process when its standard input closes: first by SIGTERM, after `grace` seconds at once.

    The parent keeps the other end of the pipe and writes nothing. The system closes it when the parent dies,
    also by SIGKILL.
    """

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
