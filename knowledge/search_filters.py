"""The conditions of a search's filters in SQL."""

from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Select, Text, any_, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from contracts.tables import document_chunks, documents
from knowledge.ports import SearchFilters
from knowledge.text_cleaning import escape_surrogates


def has_document_conditions(filters: SearchFilters) -> bool:
    """Return whether the document must be looked at to tell whether its chunks may be found."""
    return bool(filters.sources or filters.attributes)


def chunk_conditions(
    filters: SearchFilters, *, beside_index_scan: bool = False
) -> list[ColumnElement[bool]]:
    """Return what must hold of a row of `document_chunks`.

    Args:
        beside_index_scan: the rows come in an index's order, which a join of the documents might
            give up. Then the documents are looked up in a table that is made once.
    """
    conditions: list[ColumnElement[bool]] = []
    if filters.collection is not None:
        conditions.append(document_chunks.c.collection == escape_surrogates(filters.collection))
    if has_document_conditions(filters):
        matching = select(documents.c.document_id).where(*document_conditions(filters))
        is_matching = document_chunks.c.document_id.in_(matching)
        # PostgreSQL makes a join of `IN (SELECT …)`, but not of `(IN (SELECT …)) IS TRUE`.
        conditions.append(is_matching.is_(True) if beside_index_scan else is_matching)
    return conditions


def document_conditions(filters: SearchFilters) -> list[ColumnElement[bool]]:
    """Return what must hold of a row of `documents`."""
    conditions: list[ColumnElement[bool]] = []
    if filters.collection is not None:
        conditions.append(documents.c.collection == escape_surrogates(filters.collection))
    if filters.sources:
        sources = [escape_surrogates(source) for source in filters.sources]
        conditions.append(documents.c.source == any_(cast(sources, ARRAY(Text))))
    if filters.attributes:
        attributes = {
            escape_surrogates(name): escape_surrogates(value)
            for name, value in filters.attributes.items()
        }
        conditions.append(documents.c.attributes.op("@>")(literal(attributes, JSONB)))
    return conditions


def count_chunks(filters: SearchFilters) -> Select[Any]:
    """Return the statement that counts the chunks of the documents that `filters` let through."""
    total = func.coalesce(func.sum(documents.c.chunk_count), 0)
    return select(total).where(*document_conditions(filters))
