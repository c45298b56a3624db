"""Reads a chat completion request: what routing, retrieval and events need, nothing else."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct, json

from gateway.errors import InvalidRequest

T = TypeVar("T")

_NOT_PARAMETERS = frozenset(
    {"model", "messages", "tools", "functions", "stream", "stream_options", "retrieval"}
)
_TRUE = Raw(b"true")
_ERROR_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)


class _Message(Struct):
    role: str
    content: str | list[Raw] | None = None


class _StreamOptions(Struct):
    include_usage: bool | None = None


class RetrievalControls(Struct, forbid_unknown_fields=True, frozen=True):
    """The extension field `retrieval`; None leaves a control to the settings."""

    enabled: bool | None = None
    top_k: Annotated[int, Meta(ge=1, le=100)] | None = None
    collection: Annotated[str, Meta(min_length=1)] | None = None


_fields_decoder = json.Decoder(dict[str, Raw])
_model_decoder = json.Decoder(str)
_messages_decoder = json.Decoder(list[_Message])
_stream_decoder = json.Decoder(bool | None)
_stream_options_decoder = json.Decoder(_StreamOptions | None)
_tools_decoder = json.Decoder(list[dict[str, Raw]] | None)
_retrieval_decoder = json.Decoder(RetrievalControls | None)
_conversation_decoder = json.Decoder(list[dict[str, Any]])
_encoder = json.Encoder()


@dataclass
class ChatRequest:
    """A chat completion request; its fields are kept as the client's own bytes."""

    body: bytes
    fields: dict[str, Raw]
    model: str
    is_streaming: bool
    wants_usage: bool
    """The client asked for the chunk with the usage at a stream's end."""
    retrieval: RetrievalControls

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

    def forwarded_body(self, messages: list[dict[str, Any]] | None = None) -> bytes:
        """Return the body for the backend: the client's own bytes unless something changes.

        `messages` replaces the conversation. A stream is always asked for its usage, and the
        extension field `retrieval` is taken out. What does not change keeps its bytes.
        """
        asks_usage = self.is_streaming and not self.wants_usage
        if messages is None and not asks_usage and "retrieval" not in self.fields:
            return self.body
        fields = dict(self.fields)
        fields.pop("retrieval", None)
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
    fields = _read_fields(body)
    model = _read(fields, "model", _model_decoder)
    if not model:
        raise InvalidRequest("'model' is empty.", param="model")
    if not _read(fields, "messages", _messages_decoder):
        raise InvalidRequest("'messages' is empty.", param="messages", code="empty_array")
    if "tools" in fields:
        _read(fields, "tools", _tools_decoder)
    is_streaming = "stream" in fields and bool(_read(fields, "stream", _stream_decoder))
    wants_usage = False
    if "stream_options" in fields:
        options = _read(fields, "stream_options", _stream_options_decoder)
        wants_usage = options is not None and bool(options.include_usage)
    retrieval = None
    if "retrieval" in fields:
        retrieval = _read(fields, "retrieval", _retrieval_decoder)
    return ChatRequest(
        body=body,
        fields=fields,
        model=model,
        is_streaming=is_streaming,
        wants_usage=wants_usage,
        retrieval=retrieval or RetrievalControls(),
    )


def _read_fields(body: bytes) -> dict[str, Raw]:
    try:
        # The fields are only skipped over, which does not look at their encoding.
        if not body.isascii():
            body.decode()
        return _fields_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The request body is no JSON object: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"The request body is not valid JSON: {error}.", code="invalid_json"
        ) from error
    except RecursionError as error:
        raise InvalidRequest(
            "The request body is nested too deeply.", code="invalid_json"
        ) from error


def _read(fields: dict[str, Raw], name: str, decoder: json.Decoder[T]) -> T:
    raw = fields.get(name)
    if raw is None:
        raise InvalidRequest(
            f"Missing required parameter: '{name}'.",
            param=name,
            code="missing_required_parameter",
        )
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError as error:
        match = _ERROR_PATH.match(str(error))
        what, path = (match["what"], match["path"] or "") if match else (str(error), "")
        param = name + path
        raise InvalidRequest(
            f"Invalid value for '{param}': {what}.", param=param, code="invalid_type"
        ) from error
