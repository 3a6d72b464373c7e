"""The blob store: immutable, content-addressed, durable before it is acknowledged."""

from medbus.blobs.address import address_of
from medbus.blobs.blocking import BlockingBlobs, BlockingWriter
from medbus.blobs.errors import BlobCorrupted, BlobError, BlobNotFound, BlobStoreFull
from medbus.blobs.store import BlobStore, Writer

__all__ = [
    "BlobCorrupted",
    "BlobError",
    "BlobNotFound",
    "BlobStore",
    "BlobStoreFull",
    "BlockingBlobs",
    "BlockingWriter",
    "Writer",
    "address_of",
]
