"""What keeps a DICOM object from being processed."""

from medbus.schemas.errors import MedbusError


class UnusableImage(MedbusError):
    """An object has no pixels to process, or they can't be decoded, or have no meaning as values."""


class UnusableGeometry(MedbusError):
    """Where the pixels of a result lie can't be said in DICOM."""
