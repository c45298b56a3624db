"""The Dagster resource for Trino: read-only queries, their results as Arrow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dagster import ConfigurableResource
from pydantic import Field

from contracts.settings import load_settings

if TYPE_CHECKING:
    # Arrow and Trino's client are for runs that ask Trino: every run imports this module.
    import pyarrow as pa
    from trino.dbapi import Connection


class QueryRefused(Exception):
    """The statement is none that only reads."""


class TooManyRows(Exception):
    """The result has more rows than the limit."""


class QueryFailed(Exception):
    """Trino could not answer: wrong SQL, a limit exceeded, or no server."""


class TrinoResource(ConfigurableResource):  # type: ignore[type-arg]
    """Queries of the lake by Trino, each within limits."""

    url: str | None = Field(default=None, description="Default: the settings, `lake.trino_url`.")
    catalog: str | None = Field(
        default=None, description="Default: the settings, `lake.trino_catalog`."
    )
    max_rows: int = Field(default=1_000_000, ge=1, description="A result with more is refused.")
    max_seconds: int = Field(default=300, ge=1, description="Trino ends a query that takes longer.")

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> "pa.Table":
        """Return the result of `statement`, `?` in it standing for `parameters`.

        Raises:
            QueryRefused: the statement is not a single SELECT, VALUES, SHOW, DESCRIBE or EXPLAIN.
            TooManyRows: the result has more than `max_rows` rows.
            QueryFailed: Trino could not answer.
        """
        import pyarrow as pa
        from trino.exceptions import TrinoConnectionError, TrinoQueryError

        _require_reading(statement)
        with self._connect() as connection:
            cursor = connection.cursor()
            try:
                cursor.execute(statement, list(parameters) or None)
                rows = cursor.fetchmany(self.max_rows + 1)
            except (TrinoConnectionError, TrinoQueryError) as error:
                raise QueryFailed(str(error)) from error
            if len(rows) > self.max_rows:
                cursor.cancel()
                raise TooManyRows(f"the result has more than {self.max_rows} rows")
            described = [(column[0], column[1]) for column in cursor.description or ()]
        columns = zip(*rows, strict=True) if rows else ([] for _ in described)
        arrays = [
            pa.array(list(column), _arrow_type(trino_type))
            for column, (_, trino_type) in zip(columns, described, strict=True)
        ]
        return pa.table(arrays, names=[name for name, _ in described])

    @contextmanager
    def _connect(self) -> "Iterator[Connection]":
        from trino.dbapi import connect

        settings = load_settings().lake
        address = urlsplit(self.url or settings.trino_url)
        connection = connect(  # type: ignore[no-untyped-call]
            host=address.hostname,
            port=address.port,
            http_scheme=address.scheme,
            user="sluice",
            catalog=self.catalog or settings.trino_catalog,
            session_properties={"query_max_run_time": f"{self.max_seconds}s"},
        )
        try:
            yield connection
        finally:
            connection.close()


def _arrow_type(trino_type: str) -> "pa.DataType | None":
    """Return the type of a column of scalars; that of others follows from their values."""
    import pyarrow as pa

    name = trino_type.partition("(")[0]
    if name == "timestamp" or trino_type.startswith("timestamp "):
        return pa.timestamp("us", tz="UTC" if trino_type.endswith("with time zone") else None)
    scalars: dict[str, pa.DataType] = {
        "boolean": pa.bool_(),
        "tinyint": pa.int8(),
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "real": pa.float32(),
        "double": pa.float64(),
        "varchar": pa.string(),
        "date": pa.date32(),
    }
    return scalars.get(name)


def _require_reading(statement: str) -> None:
    """Refuse what would write. The server's own access rules are what holds against malice."""
    import sqlglot
    from sqlglot import expressions
    from sqlglot.errors import ParseError, TokenError

    reading = (
        expressions.Query,
        expressions.Values,
        expressions.Show,
        expressions.Describe,
    )
    first_word = statement.split(maxsplit=1)[0].upper() if statement.strip() else ""
    try:
        parsed = sqlglot.parse(statement, read="trino")
    except (ParseError, TokenError) as error:
        raise QueryRefused(f"the statement cannot be parsed: {error}") from error
    if len(parsed) != 1:
        raise QueryRefused("one statement at a time")
    if first_word not in {"SHOW", "EXPLAIN"} and not isinstance(parsed[0], reading):
        raise QueryRefused(f"{first_word or 'nothing'} does not only read")
    if first_word == "EXPLAIN" and "ANALYZE" in statement.upper().split():
        raise QueryRefused("EXPLAIN ANALYZE runs the statement")
