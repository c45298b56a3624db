"""Embeddings made by a backend, in the format that was asked for."""

import asyncio

from msgspec import Raw

from contracts.payloads import TokenUsage
from gateway.backends.answers import BackendAnswer
from gateway.backends.http import HttpBackend
from gateway.backends.refusals import check_refusal
from gateway.backends.requests import API_PATHS, BackendRequest
from gateway.backends.route import ModelRoute
from gateway.embeddings.reply import EmbeddingsReply
from gateway.errors import BackendError
from gateway.openai.embeddings import (
    EmbeddingsRequest,
    NoEmbeddings,
    read_embeddings,
    read_vector,
    replace_vectors,
    write_vector,
)
from gateway.request_context import RequestContext

_VECTORS_AT_ONCE = 64


async def embed_by_backend(
    route: ModelRoute, request: EmbeddingsRequest, context: RequestContext
) -> EmbeddingsReply:
    """Have the backend answer. Its own error is an answer too, with its status.

    Raises:
        BackendError: it cannot be used, or answered with something else.
    """

    def build(_backend: HttpBackend, model: str) -> BackendRequest:
        return BackendRequest(API_PATHS["embeddings"], request.forwarded_body(model))

    answer = await route.open(build, context, "embeddings")
    context.backend = answer.backend
    try:
        body = await answer.read_all()
    finally:
        answer.close()
    if not 200 <= answer.status < 300:
        check_refusal(answer.backend, answer.status, body)
        return EmbeddingsReply(
            body=body,
            model=request.model,
            dimensions=0,
            usage=TokenUsage(),
            status=answer.status,
            content_type=answer.content_type,
            headers=answer.headers,
        )
    try:
        return await _reply_of(answer, body, request)
    except NoEmbeddings as error:
        raise BackendError.of(
            answer.backend, "answered with something that is no embeddings", "invalid"
        ) from error


async def _reply_of(
    answer: BackendAnswer, body: bytes, request: EmbeddingsRequest
) -> EmbeddingsReply:
    embeddings = read_embeddings(body)
    if not embeddings.has_format(request.encoding_format):
        vectors: list[Raw] = []
        for position, raw in enumerate(embeddings.embeddings):
            if position % _VECTORS_AT_ONCE == 0:
                # Thousands of vectors take a while: let other requests in between.
                await asyncio.sleep(0)
            vectors.append(write_vector(read_vector(raw), request.encoding_format))
        body = replace_vectors(body, vectors)
    return EmbeddingsReply(
        body=body,
        model=request.model,
        dimensions=embeddings.dimensions,
        usage=embeddings.usage,
        content_type=answer.content_type,
        headers=answer.headers,
    )
