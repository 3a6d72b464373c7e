"""The processing catalog: requests for processing, their items and results, and what is still to be done."""

from medbus.projections.processing.job import Item, ItemState, Job, Server, State, StoredResult, Totals
from medbus.projections.processing.projection import ProcessingProjection
from medbus.projections.processing.reader import ProcessingReader

__all__ = [
    "Item",
    "ItemState",
    "Job",
    "ProcessingProjection",
    "ProcessingReader",
    "Server",
    "State",
    "StoredResult",
    "Totals",
]
