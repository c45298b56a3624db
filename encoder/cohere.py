"""The rerank interface that Cohere and Jina share: `POST /v1/rerank`.

https://docs.cohere.com/reference/rerank, https://jina.ai/reranker.
"""

from uuid import uuid4

import msgspec

from encoder.body import decode_body
from encoder.errors import InvalidRequest
from encoder.openai import require_model
from encoder.ranking import rank, to_relevance
from encoder.service import EncoderService


class _Document(msgspec.Struct):
    text: str


class _RerankRequest(msgspec.Struct):
    query: str
    documents: list[str | _Document]
    model: str | None = None
    top_n: int | None = None
    return_documents: bool = False


async def rerank(service: EncoderService, body: bytes) -> bytes:
    """Answer `POST /v1/rerank`: the best `top_n` documents, best first. Raises EncoderError.

    The relevance score is MaxSim, stretched from -1 to 1 to 0 to 1.
    """
    request = decode_body(body, _RerankRequest)
    require_model(request.model, service.model)
    if request.top_n is not None and request.top_n < 1:
        raise InvalidRequest("`top_n` is to be 1 or more.", param="top_n")
    texts = [each if isinstance(each, str) else each.text for each in request.documents]
    scores, tokens = await service.rerank(request.query, texts)
    relevance = to_relevance(scores)
    results: list[dict[str, object]] = []
    for index in rank(scores)[: request.top_n]:
        result: dict[str, object] = {"index": index, "relevance_score": float(relevance[index])}
        if request.return_documents:
            result["document"] = {"text": texts[index]}
        results.append(result)
    return msgspec.json.encode(
        {
            "id": str(uuid4()),
            "model": service.model.name,
            "results": results,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )
