"""OpenAI's interface: `POST /v1/embeddings`.

https://platform.openai.com/docs/api-reference/embeddings. Beyond it, `input_type` must say
whether the input is a query or a document.
"""

import base64
from typing import Any, Literal

import msgspec

from contracts.encoder import MODEL_ALIAS
from encoder.body import decode_body
from encoder.errors import InvalidRequest, UnknownModel
from encoder.inputs import embed_input
from encoder.service import EncoderService
from encoder.vectors import cut_dimensions
from knowledge.ports import EmbeddingKind, EncoderModel, FloatArray


class _EmbeddingsRequest(msgspec.Struct):
    input: Any
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    input_type: EmbeddingKind | None = None


async def embeddings(service: EncoderService, body: bytes) -> bytes:
    """Answer `POST /v1/embeddings`. Raises EncoderError."""
    request = decode_body(body, _EmbeddingsRequest)
    require_model(request.model, service.model)
    if request.input_type is None:
        raise InvalidRequest(
            "`input_type` is missing: it must be `query` or `document`, which the model embeds"
            " differently.",
            param="input_type",
        )
    encodings = await embed_input(service, request.input, field="input", kind=request.input_type)
    show = _to_base64 if request.encoding_format == "base64" else _to_floats
    tokens = sum(each.token_count for each in encodings)
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": show(cut_dimensions(each.dense, request.dimensions)),
                }
                for index, each in enumerate(encodings)
            ],
            "model": service.model.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def require_model(name: str | None, served: EncoderModel) -> None:
    """Raise UnknownModel where a request names another model than `served`."""
    if name not in (None, MODEL_ALIAS, served.name):
        raise UnknownModel(
            f"The model {name!r} is not served here. Models served: {served.name},"
            f" also as {MODEL_ALIAS}.",
            param="model",
        )


def _to_floats(vector: FloatArray) -> list[float]:
    floats: list[float] = vector.tolist()
    return floats


def _to_base64(vector: FloatArray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
