"""What can go wrong with a source."""

from medbus.schemas.errors import MedbusError


class SourceFailed(MedbusError):
    """A look at a source could not be brought to its end; the next one tries again."""


class Ended(Exception):
    """A look was stopped in the middle of something; nothing is wrong."""
