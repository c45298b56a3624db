"""What retrieval adds to a call: passages found, context composed, sources to show."""

from dataclasses import dataclass
from time import perf_counter

from contracts.payloads import Composition
from gateway.retrieval import SearchOutcome
from knowledge.composition import (
    ComposedContext,
    Source,
    compose_context,
    describe_source,
)
from knowledge.extractive import MAX_QUOTED_PASSAGES, compose_extractive_answer
from knowledge.near_duplicates import split_near_duplicates
from knowledge.tokens import estimate_tokens


@dataclass(frozen=True)
class Grounding:
    """The outcome of retrieval for one call."""

    search: SearchOutcome
    composition: Composition | None
    """None where no passage was used."""
    compose_started: float
    """Monotonic seconds."""
    compose_seconds: float
    sources: tuple[Source, ...] = ()
    context: ComposedContext | None = None
    """What is injected into the prompt; none for an extractive answer."""
    extractive_answer: str | None = None

    @property
    def chunk_ids(self) -> list[str]:
        return [source.chunk_id for source in self.sources]


def ground_prompt(search: SearchOutcome, *, model: str, token_budget: int) -> Grounding:
    """Compose the context that goes into the prompt of `model`."""
    started = perf_counter()
    context = compose_context(search.passages, token_budget=token_budget)
    seconds = perf_counter() - started
    if context is None:
        return Grounding(search, None, started, seconds)
    composition = Composition(
        query=search.query,
        model=model,
        chunk_ids=list(context.chunk_ids),
        dropped_chunk_ids=list(context.dropped_chunk_ids),
        token_count=context.token_count,
        token_budget=context.token_budget,
        duration_seconds=seconds,
    )
    return Grounding(search, composition, started, seconds, context.sources, context)


def ground_extractive(search: SearchOutcome, *, model: str, token_budget: int) -> Grounding:
    """Compose the answer that quotes the passages themselves."""
    started = perf_counter()
    text = compose_extractive_answer(search.query, search.passages)
    quoted = split_near_duplicates(search.passages)[0][:MAX_QUOTED_PASSAGES]
    sources = tuple(describe_source(number, passage) for number, passage in enumerate(quoted, 1))
    seconds = perf_counter() - started
    composition = None
    if sources:
        chunk_ids = [source.chunk_id for source in sources]
        composition = Composition(
            query=search.query,
            model=model,
            chunk_ids=chunk_ids,
            dropped_chunk_ids=[
                passage.chunk_id for passage in search.passages if passage.chunk_id not in chunk_ids
            ],
            token_count=estimate_tokens(text),
            token_budget=token_budget,
            duration_seconds=seconds,
        )
    return Grounding(search, composition, started, seconds, sources, extractive_answer=text)
