"""text-embeddings-inference's interface: `POST /embed` and `POST /rerank`.

https://huggingface.github.io/text-embeddings-inference. Two things are stricter or other here:
`prompt_name` must say which of the two inputs a text is, and `truncate` is true by default.
"""

from typing import Any

import msgspec

from encoder.body import decode_body
from encoder.errors import InvalidRequest
from encoder.inputs import embed_input
from encoder.ranking import rank, to_relevance
from encoder.service import EncoderService
from encoder.vectors import cut_dimensions
from knowledge.ports import EmbeddingKind


class _EmbedRequest(msgspec.Struct):
    inputs: Any
    prompt_name: EmbeddingKind | None = None
    truncate: bool | None = None
    normalize: bool | None = None
    dimensions: int | None = None


class _RerankRequest(msgspec.Struct):
    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False


async def embed(service: EncoderService, body: bytes) -> bytes:
    """Answer `POST /embed`: a list of vectors, one per text. Raises EncoderError."""
    request = decode_body(body, _EmbedRequest)
    if request.prompt_name is None:
        raise InvalidRequest(
            "`prompt_name` is missing: it must be `query` or `document`, which the model embeds"
            " differently.",
            param="prompt_name",
        )
    if request.normalize is False:
        raise InvalidRequest(
            "`normalize` cannot be false: the model's vectors are L2-normalised.", param="normalize"
        )
    encodings = await embed_input(
        service,
        request.inputs,
        field="inputs",
        kind=request.prompt_name,
        is_truncating=request.truncate is not False,
    )
    vectors = [cut_dimensions(each.dense, request.dimensions) for each in encodings]
    return msgspec.json.encode([vector.tolist() for vector in vectors])


async def rerank(service: EncoderService, body: bytes) -> bytes:
    """Answer `POST /rerank`: index and score of each text, best first. Raises EncoderError.

    The score is 0 to 1, or with `raw_scores` MaxSim itself, -1 to 1.
    """
    request = decode_body(body, _RerankRequest)
    scores, _ = await service.rerank(request.query, request.texts)
    shown = scores if request.raw_scores else to_relevance(scores)
    results: list[dict[str, object]] = []
    for index in rank(scores):
        result: dict[str, object] = {"index": index, "score": float(shown[index])}
        if request.return_text:
            result["text"] = request.texts[index]
        results.append(result)
    return msgspec.json.encode(results)
