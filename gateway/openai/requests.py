"""Reads a chat completion request: what routing, retrieval and events need, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, json

from gateway.errors import InvalidRequest
from gateway.openai.fields import read_field, read_fields

_NOT_PARAMETERS = frozenset(
    {"model", "messages", "tools", "functions", "stream", "stream_options", "retrieval"}
)
_TOKEN_LIMITS = ("max_completion_tokens", "max_tokens")
_TRUE = Raw(b"true")


class _Message(Struct):
    role: str
    content: str | list[Raw] | None = None


class _StreamOptions(Struct):
    include_usage: bool | None = None


_Name = Annotated[str, Meta(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]
"""PostgreSQL keeps no text with a NUL, so none is found by one."""


class RetrievalControls(Struct, forbid_unknown_fields=True, frozen=True):
    """The extension field `retrieval`; None leaves a control to the settings."""

    enabled: bool | None = None
    top_k: Annotated[int, Meta(ge=1, le=100)] | None = None
    collection: _Name | None = None
    collections: Annotated[list[_Name], Meta(max_length=100)] | None = None
    """Instead of `collection`; empty as if not given."""
    min_score: Annotated[float, Meta(ge=-1, le=1)] | None = None
    """Least cosine similarity of a passage."""
    sources: Annotated[list[_Name], Meta(max_length=100)] | None = None
    """Paths or URLs of documents; empty as if not given."""
    attributes: Annotated[dict[_Name, _Name], Meta(max_length=20)] | None = None
    """Values that a document's attributes must have."""


_model_decoder = json.Decoder(str)
_messages_decoder = json.Decoder(list[_Message])
_stream_decoder = json.Decoder(bool | None)
_stream_options_decoder = json.Decoder(_StreamOptions | None)
_tools_decoder = json.Decoder(list[dict[str, Raw]] | None)
_retrieval_decoder = json.Decoder(RetrievalControls | None)
_token_limit_decoder = json.Decoder(int | None)
_conversation_decoder = json.Decoder(list[dict[str, Any]])
_encoder = json.Encoder()


@dataclass
class ChatRequest:
    """A chat completion request; its fields are kept as the client's own bytes."""

    body: bytes | None
    """As the client sent it; None where the request was translated from another dialect."""
    fields: dict[str, Raw]
    model: str
    is_streaming: bool
    wants_usage: bool
    """The client asked for the chunk with the usage at a stream's end."""
    retrieval: RetrievalControls

    @classmethod
    def translated(
        cls,
        fields: Mapping[str, object],
        *,
        model: str,
        is_streaming: bool,
        retrieval: RetrievalControls,
    ) -> "ChatRequest":
        """Return the request with `fields`, made of one in another dialect.

        A stream is to be asked for its usage in them.
        """
        return cls(
            body=None,
            fields={
                name: value if isinstance(value, Raw) else Raw(_encoder.encode(value))
                for name, value in fields.items()
            },
            model=model,
            is_streaming=is_streaming,
            wants_usage=True,
            retrieval=retrieval,
        )

    @property
    def messages(self) -> Raw:
        return self.fields["messages"]

    @property
    def tools(self) -> Raw | None:
        tools = self.fields.get("tools")
        return None if tools is None or bytes(tools) == b"null" else tools

    @property
    def parameters(self) -> dict[str, Raw]:
        """Everything else: temperature, max_tokens and the like, unknown fields too."""
        return {name: raw for name, raw in self.fields.items() if name not in _NOT_PARAMETERS}

    @cached_property
    def conversation(self) -> list[dict[str, Any]]:
        """The messages, decoded. Raises InvalidRequest where that cannot be done."""
        try:
            return _conversation_decoder.decode(self.messages)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(
                f"'messages' is not valid JSON: {error}.", param="messages", code="invalid_json"
            ) from error

    @property
    def answer_tokens(self) -> int | None:
        """What the client lets the answer take; None where it does not say."""
        for name in _TOKEN_LIMITS:
            if (raw := self.fields.get(name)) is None:
                continue
            try:
                limit: int | None = _token_limit_decoder.decode(raw)
            except msgspec.DecodeError:
                # The backend refuses it in its own words.
                continue
            # Some servers take -1 as "no limit".
            if limit is not None and limit > 0:
                return limit
        return None

    def forwarded_body(
        self, messages: list[dict[str, Any]] | None = None, *, model: str | None = None
    ) -> bytes:
        """Return the body for the backend: the client's own bytes unless something changes.

        `messages` replaces the conversation, and `model` the model's name. A stream is always
        asked for its usage, and the extension field `retrieval` is taken out. What does not
        change keeps its bytes.
        """
        asks_usage = self.is_streaming and not self.wants_usage
        renames = model is not None and model != self.model
        is_changed = messages is not None or asks_usage or renames or "retrieval" in self.fields
        if self.body is not None and not is_changed:
            return self.body
        fields = dict(self.fields)
        fields.pop("retrieval", None)
        if renames:
            fields["model"] = Raw(_encoder.encode(model))
        if asks_usage:
            fields["stream_options"] = self._stream_options_with_usage()
        if messages is not None:
            fields["messages"] = Raw(_encoder.encode(messages))
        return _encoder.encode(fields)

    def _stream_options_with_usage(self) -> Raw:
        raw = self.fields.get("stream_options")
        options = {} if raw is None else json.decode(raw, type=dict[str, Raw] | None) or {}
        options["include_usage"] = _TRUE
        return Raw(_encoder.encode(options))


def read_chat_request(body: bytes) -> ChatRequest:
    """Decode the body of `POST /v1/chat/completions`.

    Raises:
        InvalidRequest: it is no JSON object in UTF-8, or a field that the gateway needs is
            missing or of a wrong type; `param` is the field's path, as in `messages[1].role`.
    """
    fields = read_fields(body)
    model = read_field(fields, "model", _model_decoder)
    if not model:
        raise InvalidRequest("'model' is empty.", param="model")
    if not read_field(fields, "messages", _messages_decoder):
        raise InvalidRequest("'messages' is empty.", param="messages", code="empty_array")
    if "tools" in fields:
        read_field(fields, "tools", _tools_decoder)
    is_streaming = "stream" in fields and bool(read_field(fields, "stream", _stream_decoder))
    wants_usage = False
    if "stream_options" in fields:
        options = read_field(fields, "stream_options", _stream_options_decoder)
        wants_usage = options is not None and bool(options.include_usage)
    retrieval = None
    if "retrieval" in fields:
        retrieval = read_field(fields, "retrieval", _retrieval_decoder)
    return ChatRequest(
        body=body,
        fields=fields,
        model=model,
        is_streaming=is_streaming,
        wants_usage=wants_usage,
        retrieval=retrieval or RetrievalControls(),
    )
