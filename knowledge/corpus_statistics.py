"""What a search must know of all chunks: their number, the common words, the vectors' model."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

from sqlalchemy import ARRAY, REAL, Text, cast, column, func, literal, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.tables import document_chunks, documents, embedding_models
from knowledge.embedding_models import StoredModel
from knowledge.search_connections import SearchConnections

_KEPT_SECONDS = 3.0


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

    def chunk_count(self, collection: str | None) -> int:
        """Return the chunks of `collection`, or of all."""
        if collection is None:
            return sum(self.chunk_counts.values())
        return self.chunk_counts.get(collection, 0)


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


async def _read_statistics(connection: AsyncConnection) -> CorpusStatistics:
    counted = await connection.execute(
        select(documents.c.collection, func.sum(documents.c.chunk_count).label("chunk_count"))
        .group_by(documents.c.collection)
        .having(func.sum(documents.c.chunk_count) > 0)
    )
    chunk_counts = {row.collection: int(row.chunk_count) for row in counted}
    # The frequencies are followed by their extremes, which no element stands beside.
    common = (
        func.unnest(
            cast(cast(column("most_common_elems"), Text), ARRAY(Text)),
            column("most_common_elem_freqs"),
        )
        .table_valued(column("lexeme", Text), column("share", REAL), name="common")
        .render_derived(name="common")
    )
    shares = await connection.execute(
        select(common.c.lexeme, common.c.share)
        .select_from(table("pg_stats").join(common, literal(True)))
        .where(column("schemaname") == func.current_schema())
        .where(column("tablename") == document_chunks.name)
        .where(column("attname") == document_chunks.c.search_vector.name)
        .where(common.c.lexeme.is_not(None))
    )
    common_lexemes = {row.lexeme: float(row.share) for row in shares}
    model = (
        await connection.execute(
            select(
                embedding_models.c.name,
                embedding_models.c.dimensions,
                embedding_models.c.token_dimensions,
            ).where(embedding_models.c.is_active)
        )
    ).one_or_none()
    return CorpusStatistics(
        chunk_counts=chunk_counts,
        common_lexemes=common_lexemes,
        stored_model=None if model is None else StoredModel(*model),
    )
