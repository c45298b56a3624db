"""How much of a model's context retrieved text may take."""

from collections.abc import Mapping, Sequence
from typing import Any

from knowledge.tokens import estimate_tokens

_MESSAGE_TOKENS = 4
"""What chat templates put around a message, about."""
_PART_TOKENS = 1000
"""An image or another part that is no text: vision models take some hundreds to 1,500."""
_ANSWER_RESERVE_TOKENS = 1024
_LARGEST_RESERVED_SHARE = 4
_SAMPLES = 8
_SAMPLE_CHARACTERS = 1000


def find_context_budget(
    *, limit: int, context_length: int, prompt_tokens: int, answer_tokens: int | None
) -> int:
    """Return how many tokens of retrieved text fit beside the prompt and its answer.

    Args:
        limit: what retrieval may take at most.
        context_length: tokens of the model's context, prompt and answer together.
        prompt_tokens: of the conversation as the client sent it.
        answer_tokens: what the client lets the answer take. Without it 1,024 tokens are kept
            free, or a quarter of the context where that is less.

    Returns:
        Tokens, at most `limit`; 0 where nothing is left.
    """
    free = find_prompt_limit(context_length=context_length, answer_tokens=answer_tokens)
    return max(0, min(limit, free - prompt_tokens))


def find_prompt_limit(
    *, context_length: int, answer_tokens: int | None, retrieved_tokens: int = 0
) -> int:
    """Return how many tokens of the context a conversation may take.

    Args:
        answer_tokens: as above.
        retrieved_tokens: what retrieval takes at most; a quarter of the context is kept for it,
            or this where that is less.
    """
    largest = context_length // _LARGEST_RESERVED_SHARE
    if answer_tokens is None:
        answer_tokens = min(_ANSWER_RESERVE_TOKENS, largest)
    return context_length - answer_tokens - min(retrieved_tokens, largest)


def estimate_prompt_tokens(messages: Sequence[Mapping[str, Any]], *, tools: str = "") -> int:
    """Return about how many tokens the conversation and its tool definitions make.

    Args:
        messages: in OpenAI's form.
        tools: their definitions as JSON text; templates write them about like that.

    Of a long text some samples are counted and the rest is taken to be like them: counting it
    all would hold up other requests.
    """
    count = _estimate_by_samples(tools)
    for message in messages:
        count += _MESSAGE_TOKENS + _content_tokens(message.get("content"))
        for call in message.get("tool_calls") or ():
            count += _estimate_by_samples(str(call))
    return count


def _content_tokens(content: object) -> int:
    if isinstance(content, str):
        return _estimate_by_samples(content)
    if not isinstance(content, list | tuple):
        return 0
    count = 0
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else part
        count += _estimate_by_samples(text) if isinstance(text, str) else _PART_TOKENS
    return count


def _estimate_by_samples(text: str) -> int:
    if len(text) <= _SAMPLES * _SAMPLE_CHARACTERS:
        return estimate_tokens(text)
    step = (len(text) - _SAMPLE_CHARACTERS) / (_SAMPLES - 1)
    starts = (round(step * number) for number in range(_SAMPLES))
    counted = sum(estimate_tokens(text[start : start + _SAMPLE_CHARACTERS]) for start in starts)
    return counted * len(text) // (_SAMPLES * _SAMPLE_CHARACTERS)
