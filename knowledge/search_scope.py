"""What one search may find, and how much that is."""

from dataclasses import dataclass

from psycopg import sql

from knowledge.corpus_statistics import CorpusStatistics, CorpusStatisticsReader
from knowledge.ports import SearchFilters
from knowledge.search_connections import SearchConnections
from knowledge.search_filters import (
    document_condition,
    filter_parameters,
    has_document_conditions,
)

_COUNT = sql.SQL("SELECT coalesce(sum(chunk_count), 0)::int FROM documents WHERE {}")


@dataclass(frozen=True)
class SearchScope:
    """The filters of a search with figures of what they let through."""

    filters: SearchFilters
    statistics: CorpusStatistics
    collection_chunks: int
    """Chunks of the filters' collections; of all where they name none."""
    matching_chunks: int
    """Those of them whose documents pass the other filters too."""

    @property
    def selectivity(self) -> float:
        """The share of the collections' chunks that may be found."""
        if self.collection_chunks <= self.matching_chunks:
            return 1.0
        return self.matching_chunks / self.collection_chunks


async def read_scope(
    connections: SearchConnections, reader: CorpusStatisticsReader, filters: SearchFilters
) -> SearchScope:
    """Count what `filters` let through. Raises SearchUnavailable."""
    statistics = await reader.read()
    collection_chunks = statistics.chunk_count(filters.collections)
    matching_chunks = collection_chunks
    if has_document_conditions(filters):
        async with connections.open("counting the chunks") as connection:
            counted = await connection.execute(
                _COUNT.format(document_condition(filters)), filter_parameters(filters)
            )
            [[matching_chunks]] = await counted.fetchall()
    return SearchScope(filters, statistics, collection_chunks, matching_chunks)
