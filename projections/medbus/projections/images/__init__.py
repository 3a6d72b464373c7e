"""The image catalog: patients, studies, series and images that are served."""

from medbus.projections.images.conflicts import ImageConflict, PatientConflict
from medbus.projections.images.projection import ImageProjection
from medbus.projections.images.query import (
    AnyOf,
    Level,
    Match,
    Query,
    Range,
    Single,
    Universal,
    Wildcard,
    matching,
)
from medbus.projections.images.reader import (
    CatalogFilter,
    CatalogRow,
    ImageReader,
    KnownImage,
    StoredImage,
    Usage,
)
from medbus.projections.images.search import Answer

__all__ = [
    "Answer",
    "AnyOf",
    "CatalogFilter",
    "CatalogRow",
    "ImageConflict",
    "ImageProjection",
    "ImageReader",
    "KnownImage",
    "Level",
    "Match",
    "PatientConflict",
    "Query",
    "Range",
    "Single",
    "StoredImage",
    "Universal",
    "Usage",
    "Wildcard",
    "matching",
]
