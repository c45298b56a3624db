"""Judged queries: questions written by hand, with the passages that answer them.

A file is TOML:

    [[query]]
    text = "How do I remember the results of a slow function?"
    relevant = [
      { grade = 3, source = "library/functools.html", phrase = "memoizing callable" },
      { grade = 1, source = "faq/programming.html", heading = "How do I cache method calls?" },
    ]

A judgement names a document by the end of its source and, in it, the chunks under a heading (or
under the title), or those that hold a phrase, or both. It does not name chunks, so it stays valid
however documents are cut. Grades: 3 answers the question, 2 answers it in part or in passing, 1
helps to find the answer.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from knowledge.evaluation.corpus import Corpus, squash
from knowledge.evaluation.metrics import RELEVANT_GRADE
from knowledge.evaluation.query_sets import EvaluationQuery, QuerySet


class UnreadableJudgements(Exception):
    """A file of judged queries is missing or wrong; the message says which and where."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Judgement(_Part):
    """Chunks that are relevant to a query."""

    grade: Annotated[int, Field(ge=1, le=3)]
    source: Annotated[str, Field(min_length=1)]
    """End of the document's source, from a slash on: `library/functools.html`."""
    heading: str | None = None
    """The title, or a heading that is above the chunk."""
    phrase: str | None = None
    """What the chunk holds; case, spaces and punctuation do not matter."""

    @model_validator(mode="after")
    def _require_place(self) -> "Judgement":
        if not squash(self.heading or "") and not squash(self.phrase or ""):
            raise ValueError("a judgement needs a heading or a phrase")
        return self

    def __str__(self) -> str:
        places = [self.source]
        if self.heading is not None:
            places.append(f"heading {self.heading!r}")
        if self.phrase is not None:
            places.append(f"phrase {self.phrase!r}")
        return ", ".join(places)

    def find_chunks(self, corpus: Corpus) -> list[UUID]:
        """Return the chunks that are meant, none where the corpus lacks them."""
        heading = squash(self.heading or "")
        phrase = squash(self.phrase or "")
        return [
            chunk.chunk_id
            for source in corpus.find_sources(self.source)
            for chunk in corpus.chunks_of_source[source]
            if (not heading or heading in chunk.squashed_headings)
            and phrase in chunk.squashed_content
        ]


class JudgedQuery(_Part):
    """A question with its judgements."""

    text: Annotated[str, Field(min_length=1)]
    relevant: Annotated[tuple[Judgement, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _require_answer(self) -> "JudgedQuery":
        if all(judgement.grade < RELEVANT_GRADE for judgement in self.relevant):
            raise ValueError(f"nothing answers the query: it needs a grade of {RELEVANT_GRADE}")
        return self


class _File(_Part):
    query: Annotated[tuple[JudgedQuery, ...], Field(min_length=1)]


def read_judged_queries(file: Path) -> Sequence[JudgedQuery]:
    """Read a file of judged queries.

    Raises:
        UnreadableJudgements: no such file, not TOML, a wrong key or value, or a question twice.
    """
    try:
        queries = _File.model_validate(tomllib.loads(file.read_text())).query
    except OSError as error:
        raise UnreadableJudgements(f"{file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnreadableJudgements(f"{file}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UnreadableJudgements(f"{file}: {place}: {first['msg']}") from error
    texts = [query.text for query in queries]
    repeated = sorted({text for text in texts if texts.count(text) > 1})
    if repeated:
        raise UnreadableJudgements(f"{file}: twice: {', '.join(repeated)}")
    return queries


def resolve_judgements(name: str, queries: Sequence[JudgedQuery], corpus: Corpus) -> QuerySet:
    """Return the queries with the chunks of `corpus` that are relevant to them.

    Where several judgements mean a chunk, the highest grade counts. A judgement that means no
    chunk is named in `unresolved`, and so is a query that is left out because no chunk is
    relevant.
    """
    resolved: list[EvaluationQuery] = []
    unresolved: list[str] = []
    for query in queries:
        grades: dict[UUID, int] = {}
        for judgement in query.relevant:
            found = judgement.find_chunks(corpus)
            if not found:
                unresolved.append(f"{query.text} → {judgement}")
            for chunk_id in found:
                grades[chunk_id] = max(judgement.grade, grades.get(chunk_id, 0))
        if max(grades.values(), default=0) < RELEVANT_GRADE:
            unresolved.append(f"{query.text} → no passage that answers it: left out")
        else:
            judgements = "\n".join(f"{each.grade} {each}" for each in query.relevant)
            resolved.append(EvaluationQuery(query.text, grades, judgements=judgements))
    return QuerySet(name, resolved, unresolved)
