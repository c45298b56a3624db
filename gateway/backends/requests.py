"""What a backend is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.settings import Api

__all__ = ["API_PATHS", "Api", "BackendRequest"]

API_PATHS: dict[Api, str] = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
}


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """One POST to a backend."""

    path: str
    """Below the server's address, `/v1` included."""
    body: bytes
    """JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Over those that the backend sets and passes on by itself, names in lower case; never a
    client's credential."""
