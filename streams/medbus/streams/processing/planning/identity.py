"""What makes two pieces of work the same. Pure."""

import json
from collections.abc import Collection

from medbus.blobs import address_of
from medbus.streams.processing.asked import Asked


def identity_of(asked: Asked, images: Collection[str], masks: Collection[str] = ()) -> str:
    """A digest of the work: the same inputs, type, parameters and version have the same one, others another.

    Args:
        asked: what is to be done.
        images: digests of the objects; their order makes no difference, since they are arranged by where they
            lie.
        masks: digests of what is subtracted, likewise.

    Returns:
        Such as `blake3:af1349…`.
    """
    said = [
        "medbus/work",
        asked.operation.name,
        asked.operation.version,
        asked.written,
        sorted(set(images)),
        sorted(set(masks)),
    ]
    return address_of(json.dumps(said, sort_keys=True, separators=(",", ":")).encode())
