"""What the clients of an encoder's gRPC server share: channel, requests, replies, errors."""

from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from contracts.encoder import MAX_MESSAGE_BYTES, RETRY_AFTER
from contracts.protos import encoder_pb2
from knowledge.encoding.embedding_messages import from_message
from knowledge.ports import (
    EmbeddingKind,
    EncoderModel,
    EncoderOverloaded,
    EncoderRefused,
    EncoderUnavailable,
    Encoding,
)

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # gRPC waits up to two minutes between its attempts: a restarted encoder is to be used at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Connections, and what is known of their failures, are shared by a process's channels
    # otherwise.
    ("grpc.use_local_subchannel_pool", 1),
    # A caller has better use for the time than a second attempt.
    ("grpc.enable_retries", 0),
    # An encoder is a neighbour; a proxy for the way out of the network does not lead to it.
    ("grpc.enable_http_proxy", 0),
    # A host that vanished sends no reset.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 2_000),
)

_KINDS = {"query": encoder_pb2.KIND_QUERY, "document": encoder_pb2.KIND_DOCUMENT}
_TEXTS_OF_CALL = 256
_TEXTS_OF_CALL_WITH_TOKENS = 64
_BYTES_OF_CALL = 8 * 1024 * 1024
_DEFAULT_RETRY_SECONDS = 1.0


def split_texts(texts: Sequence[str], *, with_tokens: bool) -> Iterator[Sequence[str]]:
    """Yield `texts` in runs that fit into a call and its reply."""
    most = _TEXTS_OF_CALL_WITH_TOKENS if with_tokens else _TEXTS_OF_CALL
    start = size = 0
    for position, text in enumerate(texts):
        # Four bytes is what UTF-8 takes at most for a character.
        bytes_needed = 4 * len(text)
        is_full = position - start == most or size + bytes_needed > _BYTES_OF_CALL
        if is_full and position > start:
            yield texts[start:position]
            start, size = position, 0
        size += bytes_needed
    if start < len(texts):
        yield texts[start:]


def embed_request(
    texts: Sequence[str], kind: EmbeddingKind, *, with_tokens: bool
) -> encoder_pb2.EmbedRequest:
    """Return the request.

    Raises:
        EncoderRefused: a text holds unpaired surrogates, which UTF-8 has no bytes for.
    """
    try:
        return encoder_pb2.EmbedRequest(texts=texts, kind=_KINDS[kind], with_tokens=with_tokens)
    except UnicodeEncodeError as error:
        raise EncoderRefused(f"a text is not valid Unicode: {error}") from error


def encodings_of(
    reply: encoder_pb2.EmbedReply, target: str, *, expected: int, with_tokens: bool
) -> list[Encoding]:
    """Return the encodings of a reply. Raises EncoderUnavailable where it is not as agreed."""
    if len(reply.embeddings) != expected:
        raise EncoderUnavailable(
            f"the encoder at {target} sent {len(reply.embeddings)} vectors for {expected} texts"
        )
    try:
        return [from_message(each, with_tokens=with_tokens) for each in reply.embeddings]
    except ValueError as error:
        raise EncoderUnavailable(f"the encoder at {target} sent unusable vectors: {error}") from (
            error
        )


def model_of(reply: encoder_pb2.Model) -> EncoderModel:
    """Return the model that a server describes."""
    return EncoderModel(
        name=reply.name,
        dimensions=reply.dimensions,
        token_dimensions=reply.token_dimensions or None,
        is_rerank_recommended=reply.is_rerank_recommended,
        max_query_tokens=reply.max_query_tokens,
        max_document_tokens=reply.max_document_tokens,
    )


def translate_error(error: Any, target: str, timeout_seconds: float) -> EncoderUnavailable:
    """Return what is to be raised for a `grpc.RpcError`."""
    code: grpc.StatusCode = error.code()
    details: str = error.details() or ""
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return EncoderRefused(details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return EncoderUnavailable(
            f"the encoder at {target} did not answer within {timeout_seconds:g} s"
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # Without the metadata it is gRPC itself that refuses, for a message's size.
        retry_after = dict(error.trailing_metadata() or ()).get(RETRY_AFTER)
        if retry_after is not None:
            return EncoderOverloaded(details, retry_after_seconds=_seconds_of(retry_after))
    if code is grpc.StatusCode.UNAVAILABLE:
        return EncoderUnavailable(f"the encoder at {target} cannot be reached: {details}")
    return EncoderUnavailable(f"the encoder at {target} failed ({code.name}): {details}")


def _seconds_of(value: str | bytes) -> float:
    try:
        return max(float(value), 0.0)
    except ValueError:
        return _DEFAULT_RETRY_SECONDS
