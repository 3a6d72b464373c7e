"""The other side of the gateway: sends files, searches, and fetches images."""

from medbus.gateways.dicom.client.fetcher import Fetched, fetch
from medbus.gateways.dicom.client.files import DicomFile, find_files
from medbus.gateways.dicom.client.finder import find
from medbus.gateways.dicom.client.peer import Peer, verify
from medbus.gateways.dicom.client.sender import Sent, send

__all__ = ["DicomFile", "Fetched", "Peer", "Sent", "fetch", "find", "find_files", "send", "verify"]
