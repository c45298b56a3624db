"""What retrieval adds to a call: passages found, context composed, sources to show."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from contracts.payloads import Composition
from gateway.openai.requests import ChatRequest
from gateway.retrieval import OK, SearchOutcome
from knowledge.composition import (
    ComposedContext,
    Source,
    compose_context,
    describe_source,
)
from knowledge.extractive import compose_extractive_answer, select_quotations
from knowledge.prompt_budget import estimate_prompt_tokens, find_context_budget
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
    token_budget: int
    sources: tuple[Source, ...] = ()
    context: ComposedContext | None = None
    """What is injected into the prompt; none for an extractive answer."""
    extractive_answer: str | None = None

    @property
    def chunk_ids(self) -> list[str]:
        return [source.chunk_id for source in self.sources]

    @property
    def extension_fields(self) -> dict[str, Any]:
        """What the answer's body gets: the sources used, and what went wrong in finding them."""
        fields: dict[str, Any] = {}
        if self.sources:
            fields["sources"] = self.sources
        if self.search.status != OK:
            fields["retrieval"] = {
                "status": self.search.status,
                "method": self.search.method,
                "error": self.search.notice,
            }
        return fields


def ground_prompt(
    search: SearchOutcome, request: ChatRequest, *, token_budget: int, context_length: int
) -> Grounding:
    """Compose the context that goes into the prompt of `request`.

    Args:
        token_budget: what it may take, were the model's context without an end.
        context_length: tokens of the model's context.
    """
    started = perf_counter()
    context = None
    if search.passages:
        token_budget = _find_budget(request, token_budget, context_length)
        context = compose_context(search.passages, token_budget=token_budget)
    seconds = perf_counter() - started
    if context is None:
        return Grounding(search, None, started, seconds, token_budget)
    composition = Composition(
        query=search.query,
        model=request.model,
        chunk_ids=list(context.chunk_ids),
        dropped_chunk_ids=list(context.dropped_chunk_ids),
        token_count=context.token_count,
        token_budget=context.token_budget,
        duration_seconds=seconds,
    )
    return Grounding(search, composition, started, seconds, token_budget, context.sources, context)


def ground_extractive(search: SearchOutcome, *, model: str, token_budget: int) -> Grounding:
    """Compose the answer that quotes the passages themselves."""
    started = perf_counter()
    quoted = select_quotations(search.passages)
    text = compose_extractive_answer(search.query, quoted)
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
    return Grounding(
        search, composition, started, seconds, token_budget, sources, extractive_answer=text
    )


def _find_budget(request: ChatRequest, limit: int, context_length: int) -> int:
    messages, tools = bytes(request.messages), bytes(request.tools or b"")
    # No token of text is shorter than a byte, so mostly nothing needs to be counted. Parts with a
    # type may be images, and tokens of those do not show in the JSON.
    is_plain_text = b'"type"' not in messages
    budget = find_context_budget(
        limit=limit,
        context_length=context_length,
        prompt_tokens=len(messages) + len(tools),
        answer_tokens=request.answer_tokens,
    )
    if is_plain_text and budget == limit:
        return limit
    return find_context_budget(
        limit=limit,
        context_length=context_length,
        prompt_tokens=estimate_prompt_tokens(
            request.conversation, tools=tools.decode(errors="replace")
        ),
        answer_tokens=request.answer_tokens,
    )
