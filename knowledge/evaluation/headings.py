"""Headings as queries for what is under them."""

from collections import defaultdict
from uuid import UUID

from knowledge.evaluation.corpus import Corpus, squash
from knowledge.evaluation.item_texts import LARGEST_SECTION, is_telling, strip_numbering
from knowledge.evaluation.query_sets import KNOWN_ITEM_GRADE, EvaluationQuery


def find_headings(corpus: Corpus) -> list[EvaluationQuery]:
    """Return the headings and titles that say something and occur once in the corpus.

    What is under a heading, in its own sections too, is relevant.
    """
    places: dict[str, dict[tuple[str, tuple[str, ...]], set[UUID]]] = defaultdict(dict)
    texts: dict[str, str] = {}
    for source, chunks in corpus.chunks_of_source.items():
        for chunk in chunks:
            path = (chunk.title, *chunk.heading_path)
            for depth, heading in enumerate(path, 1):
                text = strip_numbering(heading)
                key = squash(text)
                texts[key] = text
                places[key].setdefault((source, path[:depth]), set()).add(chunk.chunk_id)
    queries = []
    for key, found in places.items():
        if len(found) == 1 and is_telling(texts[key]):
            (chunk_ids,) = found.values()
            if len(chunk_ids) <= LARGEST_SECTION:
                queries.append(
                    EvaluationQuery(texts[key], dict.fromkeys(chunk_ids, KNOWN_ITEM_GRADE))
                )
    return queries
