"""Writes blobs into a folder from four threads until it is killed; prints the digest of each that is durable.

Run as a process of its own: `python killed.py FOLDER SEED`.
"""

import asyncio
import os
import random
import sys
from threading import Lock, Thread

from medbus.blobs import BlobStore


def write(store: BlobStore, seed: int, lock: Lock) -> None:
    source = random.Random(seed)
    while True:
        with store.blocking.writer("1.2.840.10008.1.2.1") as writer:
            for _ in range(source.randrange(1, 300)):
                writer.write(source.randbytes(16_384))
            blob = writer.finish()
        with lock:
            os.write(1, f"{blob.digest} {blob.size}\n".encode())


def main() -> None:
    store = asyncio.run(BlobStore.open(f"file://{sys.argv[1]}"))
    lock = Lock()
    threads = [Thread(target=write, args=(store, int(sys.argv[2]) * 4 + n, lock)) for n in range(4)]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main()
