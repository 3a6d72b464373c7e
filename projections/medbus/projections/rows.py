"""Many rows in one statement, as one JSON text.

SQLite's driver takes the interpreter's lock for every row of an `executemany`; beside a thread that decodes
events, each of them waits for milliseconds. A JSON text is unpacked within the database, and the lock is free
meanwhile. PostgreSQL can do the same.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Executable,
    Integer,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.selectable import FromClause

Row = tuple[Any, ...]
"""Values in the order of a table's columns: texts, whole numbers, null; a mapping is kept as a JSON text."""

text_type = Text().with_variant(Text(collation="C"), "postgresql")
"""Texts that are ordered by code point in every database."""

_encoder = msgspec.json.Encoder()
_PARAMETER = "document"


def add(connection: Connection, table: Table, new: Sequence[Row]) -> None:
    """Insert rows; those whose key is there already are left out."""
    if new:
        _execute(connection, _statement(table, connection.dialect.name, "add"), new)


def added(connection: Connection, table: Table, new: Sequence[Row]) -> list[Row]:
    """Insert rows as `add` does; returns those that were. Of several with one key it is the first."""
    if not new:
        return []
    statement = _statement(table, connection.dialect.name, "added")
    places = [number for number, column in enumerate(table.columns) if column.primary_key]
    firsts: dict[Row, Row] = {}
    for row in new:
        firsts.setdefault(tuple(row[place] for place in places), row)
    inserted = connection.execute(statement, {_PARAMETER: document_of(list(firsts.values()))})
    return [firsts[tuple(key)] for key in inserted]


def replace(connection: Connection, table: Table, new: Sequence[Row]) -> None:
    """Insert rows; those whose key is there already take the place of the old ones. No key may come twice."""
    if new:
        _execute(connection, _statement(table, connection.dialect.name, "replace"), new)


def count(connection: Connection, table: Table, new: Sequence[Row]) -> None:
    """Insert rows with counters; where the key is there already, add to its counters.

    The counters are the columns with `info={"counter": True}`. No key may come twice.
    """
    if new:
        _execute(connection, _statement(table, connection.dialect.name, "count"), new)


def remove(connection: Connection, table: Table, column: str, values: Sequence[str]) -> None:
    """Delete the rows whose column has one of some values."""
    if values:
        connection.execute(delete(table).where(among(connection, table.c[column], values)))


def among(connection: Connection, column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether a column has one of some values, however many they are."""
    return _among(connection.dialect.name, column, bindparam(None, listing(values), Text))


def among_given(dialect: str, column: ColumnElement[Any]) -> ColumnElement[bool]:
    """As `among`, of the values that are `given` when the statement is executed.

    To make a statement takes several times as long as to execute one that finds little: what is done in every
    transaction is made once for each dialect.
    """
    return _among(dialect, column, bindparam(_PARAMETER, type_=Text))


def rows_given(dialect: str, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether columns have together the values of one of the rows that are `given`."""
    _, source, element = _SOURCES[dialect]()
    values = (element(number, column.type) for number, column in enumerate(columns))
    return tuple_(*columns).in_(select(*values).select_from(source))


def listed_given(dialect: str) -> ColumnElement[Any]:
    """The values that are `given` when the statement is executed, as a column of a table."""
    return _listed(dialect, bindparam(_PARAMETER, type_=Text))


def given(values: Sequence[Any]) -> dict[str, str]:
    """The parameters of a statement with `among_given` or `listed_given`."""
    return {_PARAMETER: listing(values)}


def listing(values: Sequence[Any]) -> str:
    """Some values as a JSON text. A text with a NUL character, which no row can have, is left out."""
    return document_of([value for value in values if not isinstance(value, str) or "\0" not in value])


def _among(dialect: str, column: ColumnElement[Any], document: BindParameter[str]) -> ColumnElement[bool]:
    value = _listed(dialect, document)
    numeric = dialect != "sqlite" and isinstance(column.type, Integer)
    return column.in_(select(cast(value, column.type) if numeric else value))


def _listed(dialect: str, document: BindParameter[str]) -> ColumnElement[Any]:
    if dialect == "sqlite":
        return func.json_each(document).table_valued("value").c.value
    return func.jsonb_array_elements_text(cast(document, postgresql.JSONB)).table_valued("value").c.value


def json_value(connection: Connection, column: ColumnElement[Any], key: str) -> ColumnElement[Any]:
    """The value of a key in a column that holds a JSON object, as text; null where it is not there."""
    document = column if connection.dialect.name == "sqlite" else cast(column, postgresql.JSONB)
    return document.op("->>")(key)


class NulCharacter(ValueError):
    """A text contains the NUL character, which no database takes."""


def document_of(values: Sequence[Any]) -> str:
    """Rows or values as a JSON text.

    Raises:
        NulCharacter: of a text in it.
    """
    document = _encoder.encode(values)
    if b"\\u0000" in document and without_nul(decoded := msgspec.json.decode(document)) != decoded:
        raise NulCharacter
    return document.decode()


def without_nul(value: Any) -> Any:
    """The same value without NUL characters in any of its texts."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list | tuple):
        return [without_nul(each) for each in value]
    if isinstance(value, dict):
        return {without_nul(key): without_nul(each) for key, each in value.items()}
    return value


def _execute(connection: Connection, statement: Executable, new: Sequence[Row]) -> None:
    connection.execute(statement, {_PARAMETER: document_of(new)})


@cache
def _statement(table: Table, dialect: str, action: str) -> Any:
    insert, source, element = _SOURCES[dialect]()
    chosen = select(*(element(number, column.type) for number, column in enumerate(table.columns)))
    statement: Any = insert(table).from_select(
        [column.name for column in table.columns],
        # Without a condition SQLite would take ON CONFLICT for a join's.
        chosen.select_from(source).where(true()),
    )
    keys = [column.name for column in table.primary_key]
    if action in {"add", "added"}:
        done = statement.on_conflict_do_nothing()
        return done if action == "add" else done.returning(*(c for c in table.columns if c.primary_key))
    if action == "replace":
        changed = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    else:
        changed = {c.name: c + statement.excluded[c.name] for c in table.columns if c.info.get("counter")}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


Element = Callable[[int, Any], ColumnElement[Any]]
Source = tuple[Callable[[Table], Any], FromClause, Element]


def _sqlite() -> Source:
    source = func.json_each(bindparam(_PARAMETER, type_=Text)).table_valued("value")
    return sqlite.insert, source, lambda number, _: literal_column(f"value ->> {number}")


def _postgresql() -> Source:
    document = cast(bindparam(_PARAMETER, type_=Text), postgresql.JSONB)
    source = func.jsonb_array_elements(document).table_valued("value")

    def element(number: int, kind: Any) -> ColumnElement[Any]:
        value: ColumnElement[Any] = literal_column(f"value ->> {number}")
        return cast(value, kind) if isinstance(kind, Integer) else value

    return postgresql.insert, source, element


_SOURCES: dict[str, Callable[[], Source]] = {"sqlite": _sqlite, "postgresql": _postgresql}
