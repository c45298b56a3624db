"""The answer to a request for embeddings, whoever made the vectors."""

from dataclasses import dataclass, field

from contracts.payloads import TokenUsage
from gateway.errors import Header


@dataclass
class EmbeddingsReply:
    """What the client gets, and what is recorded of it."""

    body: bytes
    model: str
    dimensions: int
    usage: TokenUsage
    status: int = 200
    content_type: str = "application/json"
    headers: list[Header] = field(default_factory=list)
