"""What can go wrong with a catalog."""

from medbus.schemas.errors import MedbusError


class CatalogError(MedbusError):
    """A catalog can't be read or written."""


class CatalogMissing(CatalogError):
    """There is no catalog yet, or it was deleted."""


class CatalogInUse(CatalogError):
    """Another process writes this catalog, or rebuilds it."""


class InvalidQuery(CatalogError):
    """A key of a query has a value that its value representation does not allow."""
