"""Embeddings made by the platform's encoder."""

from collections.abc import Sequence
from typing import cast

from msgspec import Raw

from contracts.encoder import MAX_TEXTS
from contracts.payloads import TokenUsage
from gateway.embeddings.reply import EmbeddingsReply
from gateway.embeddings.served_encoder import ServedEncoder
from gateway.errors import EncoderBusy, EncoderDown, InvalidRequest
from gateway.openai.embeddings import EmbeddingsRequest, write_embeddings, write_item
from knowledge.encoding.shortening import shorten_vector
from knowledge.ports import (
    EmbeddingKind,
    EncoderModel,
    EncoderOverloaded,
    EncoderRefused,
    EncoderUnavailable,
    Encoding,
)

_TEXTS_AT_ONCE = 64
"""Of a long request: the encoder's queue is bounded, and others are to get their turn."""


async def embed_by_encoder(encoder: ServedEncoder, request: EmbeddingsRequest) -> EmbeddingsReply:
    """Encode the request's texts.

    Raises:
        InvalidRequest: the input is not what the encoder takes: token IDs, an empty text, one too
            long, too many.
        EncoderBusy: its queue is full.
        EncoderDown: it cannot be reached, or broke down.
    """
    texts, kind = _read_texts(request)
    items: list[Raw] = []
    prompt_tokens = 0
    try:
        model = await encoder.describe()
        dimensions = _read_dimensions(request, model)
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = texts[start : start + _TEXTS_AT_ONCE]
            encodings = await encoder.encode(part, kind=kind)
            if (await encoder.describe()).name != model.name:
                raise EncoderDown("it has just been given another model")
            if not request.truncates:
                _refuse_long_texts(part, encodings, model, kind, first=start)
            for position, encoding in enumerate(encodings, start):
                vector = shorten_vector(encoding.dense, dimensions)
                items.append(write_item(position, vector, request.encoding_format))
                prompt_tokens += encoding.token_count
    except EncoderOverloaded as error:
        raise EncoderBusy(error.retry_after_seconds) from error
    except EncoderRefused as error:
        raise InvalidRequest(f"The encoder refuses the input: {error}.", param="input") from error
    except EncoderUnavailable as error:
        raise EncoderDown(str(error)) from error
    return EmbeddingsReply(
        body=write_embeddings(items, model=model.name, prompt_tokens=prompt_tokens),
        model=model.name,
        dimensions=dimensions,
        usage=TokenUsage(prompt_tokens=prompt_tokens, total_tokens=prompt_tokens),
    )


def _read_texts(request: EmbeddingsRequest) -> tuple[list[str], EmbeddingKind]:
    if request.kind not in ("query", "document"):
        raise InvalidRequest("'input_type' must be 'query' or 'document'.", param="input_type")
    texts = request.texts
    if texts is None:
        raise InvalidRequest(
            "The encoder takes texts, not token IDs: they belong to one model's vocabulary, and it"
            " makes its own.",
            param="input",
            code="invalid_type",
        )
    if not texts:
        raise InvalidRequest("'input' is empty.", param="input", code="empty_array")
    if len(texts) > MAX_TEXTS:
        raise InvalidRequest(
            f"'input' has {len(texts)} texts; at most {MAX_TEXTS} are taken at once.",
            param="input",
            code="array_above_max_length",
        )
    if "" in texts:
        position = texts.index("")
        raise InvalidRequest(
            f"'input[{position}]' is an empty string.",
            param=f"input[{position}]",
            code="empty_string",
        )
    return texts, cast("EmbeddingKind", request.kind)


def _read_dimensions(request: EmbeddingsRequest, model: EncoderModel) -> int:
    dimensions = request.dimensions
    if dimensions is None:
        return model.dimensions
    if not 1 <= dimensions <= model.dimensions:
        raise InvalidRequest(
            f"'dimensions' must be from 1 to {model.dimensions} for the model {model.name!r}.",
            param="dimensions",
        )
    return dimensions


def _refuse_long_texts(
    texts: Sequence[str],
    encodings: Sequence[Encoding],
    model: EncoderModel,
    kind: EmbeddingKind,
    *,
    first: int,
) -> None:
    limit = model.max_query_tokens if kind == "query" else model.max_document_tokens
    for position, (text, encoding) in enumerate(zip(texts, encodings, strict=True), first):
        # The encoder cuts at the limit without a word, and may fill a query up to it: of a query
        # only the number of its words, each of them a token at least, tells that it was cut.
        is_too_long = (
            len(text.split()) > limit if kind == "query" else encoding.token_count >= limit
        )
        if is_too_long:
            raise InvalidRequest(
                f"'input[{position}]' is too long: the model {model.name!r} takes fewer than"
                f" {limit} tokens of a {kind}. With 'truncate': true the rest is left out.",
                param=f"input[{position}]",
                code="context_length_exceeded",
            )
