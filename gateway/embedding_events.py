"""The events of one call of an encoder, whoever made it."""

from contracts.payloads import EmbeddingRequest, EmbeddingTelemetry, Payload
from contracts.subjects import PipelineSubject, Subject, TelemetrySubject


def embedding_payloads(
    *,
    model: str,
    kind: str,
    input_count: int,
    dimensions: int,
    duration_seconds: float,
    prompt_tokens: int | None,
) -> list[tuple[Subject, Payload]]:
    """Return what is published of `input_count` texts of `kind` (query or document)."""
    return [
        (
            PipelineSubject.EMBEDDING,
            EmbeddingRequest(
                model=model,
                kind=kind,
                input_count=input_count,
                dimensions=dimensions,
                duration_seconds=duration_seconds,
                prompt_tokens=prompt_tokens,
            ),
        ),
        (
            TelemetrySubject.EMBEDDING,
            EmbeddingTelemetry(
                model=model,
                input_count=input_count,
                dimensions=dimensions,
                duration_seconds=duration_seconds,
            ),
        ),
    ]
