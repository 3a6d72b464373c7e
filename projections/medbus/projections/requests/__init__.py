"""The request catalog: every request of every kind, and what was decided on it."""

from medbus.projections.requests.projection import RequestProjection
from medbus.projections.requests.reader import RequestReader
from medbus.projections.requests.request import LoggedRequest, Outcome

__all__ = ["LoggedRequest", "Outcome", "RequestProjection", "RequestReader"]
