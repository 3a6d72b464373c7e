"""What keeps a stack from being processed."""

from medbus.schemas.errors import MedbusError


class InvalidParameter(MedbusError):
    """A parameter is unknown, missing, out of range or not of its kind."""


class UnsuitableStack(MedbusError):
    """A stack can't be processed in this way, or is none: its shape, its spacing or its type."""


class ProcessingCancelled(MedbusError):
    """Somebody asked for the end of it."""
