"""Content parts of input items as chat completions have them."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from gateway.errors import InvalidRequest
from gateway.responses.items import convert
from knowledge.documents import UnreadableDocument, read_file_text

ChatPart = dict[str, Any]

_IMAGE_DETAILS = frozenset({"auto", "low", "high"})


class _Text(Struct):
    text: str


class _Refusal(Struct):
    refusal: str


class _Image(Struct):
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class _File(Struct):
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


class _Audio(Struct):
    class Input(Struct):
        data: str
        format: Literal["mp3", "wav"]

    input_audio: Input


def chat_content(content: str | Sequence[dict[str, Any]], path: str) -> str | list[ChatPart]:
    """Return an item's content for a chat message: one string where all of it is text.

    Raises:
        InvalidRequest: a part is of no kind that is known here, is malformed, or refers to a
            file that is elsewhere; `path` is that of the content.
    """
    if isinstance(content, str):
        return content
    parts = [_chat_part(part, f"{path}[{index}]") for index, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def text_of(content: str | Sequence[dict[str, Any]], path: str) -> str:
    """Return what an assistant said; refusals are words of it too. Raises InvalidRequest."""
    text = chat_content(content, path)
    if isinstance(text, str):
        return text
    raise InvalidRequest("An assistant's message can only hold text and refusals.", param=path)


def _chat_part(part: dict[str, Any], path: str) -> ChatPart:
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text", "summary_text", "reasoning_text"):
        return {"type": "text", "text": convert(part, _Text, path).text}
    if kind == "refusal":
        return {"type": "text", "text": convert(part, _Refusal, path).refusal}
    if kind == "input_image":
        return _chat_image(convert(part, _Image, path), path)
    if kind == "input_file":
        return _chat_file(convert(part, _File, path), path)
    if kind == "input_audio":
        audio = convert(part, _Audio, path).input_audio
        return {"type": "input_audio", "input_audio": {"data": audio.data, "format": audio.format}}
    raise InvalidRequest(
        f"Invalid value: {kind!r}. Supported values are: 'input_text', 'input_image',"
        " 'input_file', 'input_audio', 'output_text', and 'refusal'.",
        param=f"{path}.type",
    )


def _chat_image(image: _Image, path: str) -> ChatPart:
    if image.image_url is None:
        if image.file_id is not None:
            raise _no_files(f"{path}.file_id")
        raise InvalidRequest(
            f"Missing required parameter: '{path}.image_url'.",
            param=f"{path}.image_url",
            code="missing_required_parameter",
        )
    url: dict[str, Any] = {"url": image.image_url}
    if image.detail in _IMAGE_DETAILS:
        url["detail"] = image.detail
    return {"type": "image_url", "image_url": url}


def _chat_file(file: _File, path: str) -> ChatPart:
    """Return the file's text: chat completions of local servers take no files."""
    if file.file_id is not None:
        raise _no_files(f"{path}.file_id")
    if file.file_url is not None:
        raise InvalidRequest(
            "This gateway fetches nothing from elsewhere: send the file itself in 'file_data'.",
            param=f"{path}.file_url",
            code="unsupported_parameter",
        )
    if file.file_data is None:
        raise InvalidRequest(
            f"Missing required parameter: '{path}.file_data'.",
            param=f"{path}.file_data",
            code="missing_required_parameter",
        )
    name = file.filename or "file"
    try:
        text = read_file_text(_decode_file(file.file_data), name)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            f"The file {name!r} is not valid Base64.", param=f"{path}.file_data"
        ) from error
    except UnreadableDocument as error:
        raise InvalidRequest(
            f"No text can be read from the file {error}.", param=f"{path}.file_data"
        ) from error
    return {"type": "text", "text": f"File {name}:\n{text}"}


def _decode_file(data: str) -> bytes:
    if data.startswith("data:"):
        _, _, data = data.partition(",")
    return base64.b64decode(data, validate=True)


def _no_files(param: str) -> InvalidRequest:
    return InvalidRequest(
        "This gateway keeps no uploaded files: send the content itself.",
        param=param,
        code="unsupported_parameter",
    )
