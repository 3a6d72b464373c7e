"""A catalog in memory that readers can ask."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Select

from medbus.projections.database import Database
from medbus.projections.storage import Work

T = TypeVar("T")


class Asked:
    """What readers need of a database, on one connection: for many examples, which a file would make slow."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read(self, work: Work[T]) -> T:
        return work(self._connection)

    async def look(self, statement: Select[Any], parameters: Mapping[str, str]) -> tuple[Any, ...] | None:
        row = self._connection.execute(statement, parameters).first()
        return None if row is None else tuple(row)


def asked(connection: Connection) -> Database:
    """A database to be given to a reader."""
    return cast(Database, Asked(connection))
