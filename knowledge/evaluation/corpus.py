"""The ingested chunks as the evaluation sees them: where they stand and what they say."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.tables import document_chunks, documents

_NOT_A_WORD = re.compile(r"[\W_]+")


def squash(text: str) -> str:
    """Return the letters and digits of `text` alone, in lower case.

    What is left of a text does not depend on how a loader renders spaces, code or emphasis.
    """
    return _NOT_A_WORD.sub("", text).lower()


@dataclass(frozen=True)
class CorpusChunk:
    """A chunk and its place."""

    chunk_id: UUID
    source: str
    title: str
    heading_path: tuple[str, ...]
    content: str
    media_type: str = "text/html"

    @cached_property
    def squashed_content(self) -> str:
        return squash(self.content)

    @cached_property
    def squashed_lines(self) -> frozenset[str]:
        """A signature or term that is defined has a line of its own."""
        return frozenset(map(squash, self.content.split("\n")))

    @cached_property
    def squashed_headings(self) -> tuple[str, ...]:
        """Of the title and the headings below it."""
        return tuple(squash(heading) for heading in (self.title, *self.heading_path))


class Corpus:
    """All chunks of a collection, in the order of their documents."""

    def __init__(self, name: str, chunks: Iterable[CorpusChunk]) -> None:
        """
        Args:
            chunks: by source, and in each document by position.
        """
        self.name = name
        self._chunks_of_source: dict[str, list[CorpusChunk]] = {}
        for chunk in chunks:
            self._chunks_of_source.setdefault(chunk.source, []).append(chunk)

    def __len__(self) -> int:
        return sum(map(len, self._chunks_of_source.values()))

    @property
    def chunks_of_source(self) -> Mapping[str, Sequence[CorpusChunk]]:
        """The chunks of each document."""
        return self._chunks_of_source

    def find_sources(self, suffix: str) -> list[str]:
        """Return the sources that are `suffix` or end in it after a slash."""
        return [
            source
            for source in self._chunks_of_source
            if source == suffix or source.endswith(f"/{suffix}")
        ]


async def read_corpus(connection: AsyncConnection, collection: str) -> Corpus:
    """Read the chunks of `collection`."""
    statement = (
        select(
            document_chunks.c.chunk_id,
            documents.c.source,
            documents.c.title,
            document_chunks.c.heading_path,
            document_chunks.c.content,
            documents.c.media_type,
        )
        .join(documents, documents.c.document_id == document_chunks.c.document_id)
        .where(documents.c.collection == collection)
        .order_by(documents.c.source, document_chunks.c.position)
    )
    rows = await connection.execute(statement)
    return Corpus(
        collection,
        (
            CorpusChunk(
                row.chunk_id,
                row.source,
                row.title,
                tuple(row.heading_path),
                row.content,
                row.media_type,
            )
            for row in rows
        ),
    )
