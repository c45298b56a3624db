"""What a search must know of all chunks: their number, the common words, the vectors' model."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from time import monotonic

from knowledge.search_connections import SearchConnection, SearchConnections
from knowledge.stored_model import StoredModel

_KEPT_SECONDS = 3.0

_COUNT_CHUNKS = """
SELECT collection, sum(chunk_count)::int
FROM documents
GROUP BY collection
HAVING sum(chunk_count) > 0
"""
# The frequencies are followed by their extremes, which no element stands beside.
_READ_COMMON_LEXEMES = """
SELECT common.lexeme, common.share
FROM pg_stats, unnest(most_common_elems::text::text[], most_common_elem_freqs)
    AS common (lexeme, share)
WHERE schemaname = current_schema()
    AND tablename = 'document_chunks'
    AND attname = 'search_vector'
    AND common.lexeme IS NOT NULL
"""
_READ_MODEL = """
SELECT name, dimensions, token_dimensions
FROM embedding_models
WHERE is_active
"""


@dataclass(frozen=True)
class CorpusStatistics:
    """Figures of one moment."""

    chunk_counts: Mapping[str, int]
    """By collection."""
    common_lexemes: Mapping[str, float]
    """Lexemes to the share of chunks that hold them, as ANALYZE last found it. Rarer ones than
    the thousand most common are absent."""
    stored_model: StoredModel | None
    """None where no chunk has ever had a vector."""

    def chunk_count(self, collections: Collection[str]) -> int:
        """Return the chunks of `collections`, or of all where there are none."""
        if not collections:
            return sum(self.chunk_counts.values())
        return sum(self.chunk_counts.get(collection, 0) for collection in set(collections))


class CorpusStatisticsReader:
    """Reads the statistics when the last ones are some seconds old."""

    def __init__(
        self, connections: SearchConnections, *, kept_seconds: float = _KEPT_SECONDS
    ) -> None:
        self._connections = connections
        self._kept_seconds = kept_seconds
        self._kept: CorpusStatistics | None = None
        self._read_at = 0.0
        self._is_reading = False

    async def read(self) -> CorpusStatistics:
        """Return statistics that are some seconds old at most, older ones while new are read.

        Those of a database without chunks are not kept: the first ones count at once.

        Raises:
            SearchUnavailable: the database did not answer.
        """
        is_fresh = monotonic() - self._read_at < self._kept_seconds
        if self._kept is not None and (is_fresh or self._is_reading):
            return self._kept
        self._is_reading = True
        try:
            async with self._connections.open("reading the statistics") as connection:
                statistics = await _read_statistics(connection)
        finally:
            self._is_reading = False
        self._kept = statistics if statistics.chunk_counts else None
        self._read_at = monotonic()
        return statistics


async def _read_statistics(connection: SearchConnection) -> CorpusStatistics:
    async with connection.pipeline():
        counts = await connection.execute(_COUNT_CHUNKS)
        shares = await connection.execute(_READ_COMMON_LEXEMES)
        models = await connection.execute(_READ_MODEL)
    model = await models.fetchone()
    return CorpusStatistics(
        chunk_counts=dict(await counts.fetchall()),
        common_lexemes=dict(await shares.fetchall()),
        stored_model=None if model is None else StoredModel(*model),
    )
