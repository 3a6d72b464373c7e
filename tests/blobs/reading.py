"""Reads the blobs in a folder whose digests come on its standard input, and says of each whether it is whole.

Run as a process of its own: `python reading.py FOLDER`.
"""

import asyncio
import sys

from medbus.blobs import BlobError, BlobStore, address_of


def main() -> None:
    store = asyncio.run(BlobStore.open(f"file://{sys.argv[1]}"))
    print("open", flush=True)
    for line in sys.stdin:
        digest = line.strip()
        try:
            data = store.blocking.read(digest)
            said = "whole" if address_of(data) == digest and store.blocking.exists(digest) else "not whole"
        except BlobError as error:
            said = str(error)
        print(said, flush=True)


if __name__ == "__main__":
    main()
