"""The content blocks of a Messages request.

https://platform.claude.com/docs/en/api/messages. `cache_control`, `citations` and other fields
that say nothing of the content are passed over.
"""

from msgspec import Raw, Struct


class TextBlock(Struct, tag_field="type", tag="text"):
    text: str


class Base64Source(Struct, tag_field="type", tag="base64"):
    """Bytes in the request itself."""

    media_type: str
    data: str


class UrlSource(Struct, tag_field="type", tag="url"):
    """An address that the backend fetches from."""

    url: str


class FileSource(Struct, tag_field="type", tag="file"):
    """A file of Anthropic's Files API."""

    file_id: str


class ImageBlock(Struct, tag_field="type", tag="image"):
    source: Base64Source | UrlSource | FileSource


class TextSource(Struct, tag_field="type", tag="text"):
    """A document's plain text."""

    data: str


class ContentSource(Struct, tag_field="type", tag="content"):
    """A document cut into blocks."""

    content: "str | list[TextBlock | ImageBlock]"


class DocumentBlock(Struct, tag_field="type", tag="document"):
    source: TextSource | ContentSource | Base64Source | UrlSource | FileSource
    title: str | None = None
    context: str | None = None


class SearchResultBlock(Struct, tag_field="type", tag="search_result"):
    source: str
    title: str
    content: list[TextBlock]


class ThinkingBlock(Struct, tag_field="type", tag="thinking"):
    thinking: str


class RedactedThinkingBlock(Struct, tag_field="type", tag="redacted_thinking"):
    """Thinking that only Anthropic's servers can read."""


class ToolUseBlock(Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: dict[str, Raw]


class ToolReferenceBlock(Struct, tag_field="type", tag="tool_reference"):
    """The name of a tool that a search for tools found."""

    tool_name: str


ToolResultContent = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock


class ToolResultBlock(Struct, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[ToolResultContent] | None = None
    is_error: bool | None = None


ContentBlock = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
)
