"""The blob store: immutable, content-addressed, durable before it is acknowledged."""

from medbus.gateways.blobs.address import address_of
from medbus.gateways.blobs.blocking import BlockingBlobs, BlockingWriter
from medbus.gateways.blobs.errors import BlobCorrupted, BlobError, BlobNotFound, BlobStoreFull
from medbus.gateways.blobs.store import BlobStore, Writer

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
