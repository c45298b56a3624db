"""What of a chunk is turned into its vectors, and how long a chunk may be for it."""

from collections.abc import Sequence

from knowledge.chunking import DEFAULT_MAX_TOKENS
from knowledge.ports import EncoderModel

_HEADING_TOKENS = 48
"""Room for title, headings, the model's own tokens and what the estimate errs by. With 48 of 256,
3 % of the chunks of Python's and PostgreSQL's documentation are cut, by 0.3 % of all their tokens;
with 16, 14 % of the chunks are."""
_SMALLEST_CHUNK_TOKENS = 64


def text_to_embed(title: str, heading_path: Sequence[str], content: str) -> str:
    """Return the text that stands for a chunk: title, headings and content, a line each.

    A passage often names its subject only in the headings above it.
    """
    return stored_text_to_embed("\n".join((title, *heading_path)), content)


def stored_text_to_embed(headings: str, content: str) -> str:
    """Return the same from the columns of `document_chunks`: `headings` begins with the title."""
    return "\n".join((headings, content))


def choose_max_tokens(model: EncoderModel | None) -> int:
    """Return the size of chunks, in `estimate_tokens`, that suits what `model` can take in.

    What exceeds the model's maximum is not in the vector, so a chunk is not to be longer.
    Without a model only the prompt limits it.
    """
    if model is None:
        return DEFAULT_MAX_TOKENS
    room = model.max_document_tokens - _HEADING_TOKENS
    return min(DEFAULT_MAX_TOKENS, max(room, _SMALLEST_CHUNK_TOKENS))
