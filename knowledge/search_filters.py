"""The conditions of a search's filters in SQL."""

from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from knowledge.ports import SearchFilters
from knowledge.text_cleaning import escape_surrogates


def has_document_conditions(filters: SearchFilters) -> bool:
    """Return whether the document must be looked at to tell whether its chunks may be found."""
    return bool(filters.sources or filters.attributes)


def filter_parameters(filters: SearchFilters) -> dict[str, Any]:
    """Return the parameters of the conditions below."""
    parameters: dict[str, Any] = {}
    if filters.collections:
        parameters["collections"] = [escape_surrogates(name) for name in filters.collections]
    if filters.sources:
        parameters["sources"] = [escape_surrogates(source) for source in filters.sources]
    if filters.attributes:
        parameters["attributes"] = Jsonb(
            {
                escape_surrogates(name): escape_surrogates(value)
                for name, value in filters.attributes.items()
            }
        )
    return parameters


def chunk_condition(filters: SearchFilters, *, beside_index_scan: bool = False) -> sql.Composable:
    """Return what must hold of a row of `document_chunks`.

    Args:
        beside_index_scan: the rows come in an index's order, which a join with the documents
            might give up. Then the documents are looked up in a table that is made once.
    """
    conditions: list[sql.Composable] = [sql.SQL("true")]
    if filters.collections:
        conditions.append(sql.SQL("document_chunks.collection = ANY(%(collections)s)"))
    if has_document_conditions(filters):
        # PostgreSQL makes a join of `IN (SELECT …)`, but not of `(IN (SELECT …)) IS TRUE`.
        template = "({}) IS TRUE" if beside_index_scan else "{}"
        is_matching = sql.SQL(
            "document_chunks.document_id IN (SELECT document_id FROM documents WHERE {})"
        ).format(document_condition(filters))
        conditions.append(sql.SQL(template).format(is_matching))
    return sql.SQL(" AND ").join(conditions)


def document_condition(filters: SearchFilters) -> sql.Composable:
    """Return what must hold of a row of `documents`."""
    conditions: list[sql.Composable] = [sql.SQL("true")]
    if filters.collections:
        conditions.append(sql.SQL("documents.collection = ANY(%(collections)s)"))
    if filters.sources:
        conditions.append(sql.SQL("documents.source = ANY(%(sources)s)"))
    if filters.attributes:
        conditions.append(sql.SQL("documents.attributes @> %(attributes)s"))
    return sql.SQL(" AND ").join(conditions)
