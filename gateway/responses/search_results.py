"""A search for passages as the Responses protocol shows it: the call of a tool, and citations."""

from typing import Any

from gateway.chat.grounding import Grounding
from gateway.responses.citations import Citation
from gateway.responses.ids import new_id
from knowledge.composition import best_score
from knowledge.document_ids import make_document_id
from knowledge.ports import Passage


def describe_search(grounding: Grounding, *, with_results: bool) -> dict[str, Any]:
    """Return the item `file_search_call` of a search that was made."""
    search = grounding.search
    results = None
    if with_results:
        results = [_describe_result(passage) for passage in search.passages]
    return {
        "id": new_id("fs"),
        "type": "file_search_call",
        "status": "failed" if search.result is None else "completed",
        "queries": [search.query],
        "results": results,
    }


def citations_of(grounding: Grounding) -> list[Citation]:
    """Return what an answer may cite: the passages in its prompt, by their numbers."""
    passages = {passage.chunk_id: passage for passage in grounding.search.passages}
    return [
        Citation(source.number, _file_id(passages[source.chunk_id]), source.source)
        for source in grounding.sources
        if source.chunk_id in passages
    ]


def _describe_result(passage: Passage) -> dict[str, Any]:
    score = best_score(passage)
    return {
        "file_id": _file_id(passage),
        "filename": passage.source,
        # Scores here have no common scale; the protocol's goes from 0 to 1.
        "score": None if score is None else min(1.0, max(0.0, score)),
        "text": passage.content,
        "attributes": {"chunk_id": passage.chunk_id, "title": passage.title[:512]},
    }


def _file_id(passage: Passage) -> str:
    return f"file-{make_document_id(passage.collection, passage.source)}"
