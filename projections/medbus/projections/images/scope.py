"""Which images a reader may see, as a condition on holdings."""

from sqlalchemy import ColumnElement, FromClause, true

from medbus.projections.images.tables import holdings
from medbus.schemas.events import Scope

EVERYTHING = Scope()


def within(scope: Scope, table: FromClause = holdings) -> ColumnElement[bool]:
    """Whether a holding lies in a scope: the SQL of `Scope.holds`.

    Args:
        scope: what may be seen.
        table: the holdings, or an alias of them.
    """
    condition: ColumnElement[bool] = true()
    if scope.patients:
        condition &= table.c.patient_id.in_(scope.patients)
    if scope.registrants:
        condition &= table.c.registrant.in_(scope.registrants)
    if scope.modalities:
        condition &= table.c.modality.in_(scope.modalities)
    return condition
