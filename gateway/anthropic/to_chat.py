"""A Messages request as a chat completion request."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gateway.anthropic.blocks import (
    Base64Source,
    ContentBlock,
    ContentSource,
    DocumentBlock,
    ImageBlock,
    SearchResultBlock,
    TextBlock,
    TextSource,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
    UrlSource,
)
from gateway.anthropic.requests import Message, MessagesRequest, Tool, ToolChoice
from gateway.errors import InvalidRequest
from gateway.openai.requests import ChatRequest

_BILLING_HEADER = "x-anthropic-billing-header:"
"""Clients of Anthropic's begin the system prompt with accounts that differ in each request: no
backend's prompt cache would hold."""
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}

_encoder = msgspec.json.Encoder()


def chat_request_of(request: MessagesRequest) -> ChatRequest:
    """Translate; the usage of a stream is always asked for.

    Raises:
        InvalidRequest: a block cannot be told to a chat completion model, such as a PDF.
    """
    fields: dict[str, object] = {
        "model": request.model,
        "messages": list(_conversation_of(request)),
    }
    fields.update(request.parameters)
    if request.max_tokens is not None:
        fields["max_tokens"] = request.max_tokens
    if request.stop_sequences:
        fields["stop"] = request.stop_sequences
    if request.is_streaming:
        fields["stream"] = True
        fields["stream_options"] = {"include_usage": True}
    if request.tools:
        fields["tools"] = [_tool_of(tool) for tool in request.tools]
        if request.tool_choice is not None:
            fields.update(_tool_choice_of(request.tool_choice))
    if request.user_id is not None:
        fields["user"] = request.user_id
    fields.update(_reasoning_of(request))
    if request.output_config is not None and request.output_config.format is not None:
        schema = {"name": "answer", "schema": request.output_config.format.schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return ChatRequest.translated(
        fields,
        model=request.model,
        is_streaming=request.is_streaming,
        retrieval=request.retrieval,
    )


def _conversation_of(request: MessagesRequest) -> Iterator[dict[str, Any]]:
    if system := _system_text(request.system):
        yield {"role": "system", "content": system}
    for position, message in enumerate(request.messages):
        try:
            yield from _chat_messages_of(message)
        except _Untranslatable as error:
            raise InvalidRequest(str(error), param=f"messages[{position}].content") from error


class _Untranslatable(ValueError):
    """A block has nothing that a chat completion could carry."""


def _system_text(system: str | Sequence[TextBlock] | None) -> str:
    if system is None or isinstance(system, str):
        return system or ""
    texts = (block.text for block in system if not block.text.startswith(_BILLING_HEADER))
    return "\n\n".join(texts)


def _chat_messages_of(message: Message) -> Iterator[dict[str, Any]]:
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
    elif message.role == "assistant":
        yield _assistant_message(message.content)
    elif message.role == "system":
        yield {"role": "system", "content": _joined(map(_text_of, message.content))}
    else:
        yield from _user_messages(message.content)


def _assistant_message(blocks: Sequence[ContentBlock]) -> dict[str, Any]:
    """Return the turn as one message: reasoning, text and tool calls, each in its own field."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        if isinstance(block, ThinkingBlock):
            thoughts.append(block.thinking)
        elif isinstance(block, ToolUseBlock):
            arguments = _encoder.encode(block.input).decode()
            function = {"name": block.name, "arguments": arguments}
            calls.append({"id": block.id, "type": "function", "function": function})
        elif isinstance(block, TextBlock | DocumentBlock | SearchResultBlock):
            texts.append(_text_of(block))
        elif isinstance(block, ImageBlock | ToolResultBlock):
            raise _Untranslatable("An assistant's turn holds no images and no tool results.")
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if thinking := "\n".join(thought for thought in thoughts if thought):
        message["reasoning_content"] = thinking
    if calls:
        message["content"] = message["content"] or None
        message["tool_calls"] = calls
    return message


def _user_messages(blocks: Sequence[ContentBlock]) -> Iterator[dict[str, Any]]:
    """Yield a message for each tool result, which must follow its call, then the rest as one."""
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if isinstance(block, ToolResultBlock):
            text, images = _tool_result(block)
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}
            if images:
                # Only text may stand in a tool's message.
                parts.append(_text_part(f"Images in the result of {block.tool_use_id}:"))
                parts.extend(images)
        elif isinstance(block, ImageBlock):
            parts.append(_image_part(block))
        else:
            parts.extend(_parts_of(block))
    if len(parts) == 1 and parts[0]["type"] == "text":
        yield {"role": "user", "content": parts[0]["text"]}
    elif parts:
        yield {"role": "user", "content": parts}


def _tool_result(block: ToolResultBlock) -> tuple[str, list[dict[str, Any]]]:
    texts: list[str] = []
    images: list[dict[str, Any]] = []
    if isinstance(block.content, str):
        texts.append(block.content)
    for item in () if isinstance(block.content, str | None) else block.content:
        if isinstance(item, ImageBlock):
            images.append(_image_part(item))
            continue
        for part in _parts_of(item):
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                images.append(part)
    text = _joined(texts)
    # Chat completions have no field for a failure: the model must read it.
    return (f"Error: {text}" if block.is_error else text), images


def _parts_of(block: ContentBlock | ToolReferenceBlock) -> list[dict[str, Any]]:
    if isinstance(block, DocumentBlock) and isinstance(block.source, ContentSource):
        content = block.source.content
        if not isinstance(content, str):
            parts = [
                _image_part(b) if isinstance(b, ImageBlock) else _text_part(b.text) for b in content
            ]
            heading = _heading(block)
            return [_text_part(heading), *parts] if heading else parts
    return [_text_part(_text_of(block))]


def _text_of(block: ContentBlock | ToolReferenceBlock) -> str:
    """Return the text of a block that has nothing else."""
    if isinstance(block, TextBlock):
        return block.text
    if isinstance(block, ToolReferenceBlock):
        return block.tool_name
    if isinstance(block, SearchResultBlock):
        return _joined([f"{block.title} ({block.source})", *(part.text for part in block.content)])
    if isinstance(block, DocumentBlock):
        if isinstance(block.source, TextSource):
            return _joined([_heading(block), block.source.data])
        if isinstance(block.source, ContentSource) and isinstance(block.source.content, str):
            return _joined([_heading(block), block.source.content])
        raise _Untranslatable(
            "Documents are understood as plain text (source type 'text' or 'content') alone."
        )
    raise _Untranslatable(f"A block of type {_type_of(block)!r} has no place in this turn.")


def _heading(block: DocumentBlock) -> str:
    return _joined([block.title or "", block.context or ""])


def _image_part(block: ImageBlock) -> dict[str, Any]:
    source = block.source
    if isinstance(source, Base64Source):
        url = f"data:{source.media_type};base64,{source.data}"
    elif isinstance(source, UrlSource):
        url = source.url
    else:
        raise _Untranslatable("Images are understood as 'base64' or 'url', not as uploaded files.")
    return {"type": "image_url", "image_url": {"url": url}}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _joined(texts: Any) -> str:
    return "\n\n".join(text for text in texts if text)


def _type_of(block: Struct) -> str:
    return str(block.__struct_config__.tag)


def _tool_of(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice_of(choice: ToolChoice) -> dict[str, object]:
    fields: dict[str, object] = {}
    if choice.type == "tool":
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    else:
        fields["tool_choice"] = "required" if choice.type == "any" else choice.type
    if choice.disable_parallel_tool_use is not None:
        fields["parallel_tool_calls"] = not choice.disable_parallel_tool_use
    return fields


def _reasoning_of(request: MessagesRequest) -> dict[str, object]:
    """Return what local servers understand of `thinking` and `effort`."""
    fields: dict[str, object] = {}
    if request.thinking is not None and "chat_template_kwargs" not in request.fields:
        is_thinking = request.thinking.type != "disabled"
        fields["chat_template_kwargs"] = {"enable_thinking": is_thinking}
    if request.output_config is not None and request.output_config.effort is not None:
        fields["reasoning_effort"] = _EFFORTS[request.output_config.effort]
    return fields
