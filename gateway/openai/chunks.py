"""The chunks of a streamed chat completion, and complete ones read as a single chunk."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from contracts.payloads import TokenUsage

_ABSENT = Raw(b"null")


class FunctionDelta(Struct):
    """Part of a call's name and arguments."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ToolCallDelta(Struct):
    """Part of one tool call. Where the server gave no `index`, the accumulator sets it."""

    index: int | None = None
    id: str | None = None
    function: FunctionDelta | None = None


class Delta(Struct):
    """What a chunk adds to the message; or, of a complete answer, the message itself."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallDelta] | None = None

    @property
    def reasoning_text(self) -> str | None:
        """Newer vLLM names the field `reasoning`; a server that sends both sends the same text."""
        return self.reasoning_content or self.reasoning


class TokenLogprobs(Struct):
    """Log probabilities of the tokens of a chunk, as the protocol shapes them."""

    content: list[dict[str, Any]] | None = None


class Choice(Struct):
    """One of a chunk's choices."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    """vLLM: the stop sequence, or the ID of the token, that ended the answer."""
    logprobs: TokenLogprobs | None = None

    @property
    def addition(self) -> Delta | None:
        """What the choice adds, streamed or whole."""
        return self.message if self.delta is None else self.delta


class PromptDetails(Struct):
    """Details of the prompt's tokens."""

    cached_tokens: int | None = None


class CompletionDetails(Struct):
    """Details of the answer's tokens."""

    reasoning_tokens: int | None = None


class Usage(Struct):
    """Token counts with their details."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    is_estimate: bool = False
    """Of the built-in model, which has no tokenizer."""

    @property
    def cached_tokens(self) -> int | None:
        """Those of the prompt that came from the backend's cache; None where it does not say."""
        details = self.prompt_tokens_details
        return None if details is None else details.cached_tokens

    def recorded(self) -> TokenUsage:
        """Return what the events hold of it."""
        return TokenUsage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_tokens=self.total_tokens,
            cache_read_tokens=self.cached_tokens,
            is_estimate=self.is_estimate,
        )


class ChatChunk(Struct):
    """A chunk, or a complete answer."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: Raw = _ABSENT
    sources: list[dict[str, Any]] | None = None
    """The gateway's own: passages in the prompt."""
    retrieval: dict[str, Any] | None = None
    """The gateway's own: what went wrong in finding them."""

    @property
    def has_error(self) -> bool:
        return self.error != _ABSENT

    @property
    def is_usage_only(self) -> bool:
        """It carries the usage and no choice: the chunk that `include_usage` asks for."""
        return self.usage is not None and not self.choices

    @property
    def first_choice(self) -> Choice | None:
        """Choice 0; the dialects that are translated know no other."""
        return next((choice for choice in self.choices or () if choice.index == 0), None)


_decoder = msgspec.json.Decoder(ChatChunk)


def read_chunk(data: bytes) -> ChatChunk | None:
    """Return the chunk in an event's data or a body; None where it is of no such shape."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
