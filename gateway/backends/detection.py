"""Finds out which APIs a server speaks itself."""

from contracts.settings import Api
from gateway.backends.http import HttpBackend
from gateway.backends.requests import API_PATHS

_PROBED: tuple[Api, ...] = ("messages", "responses")
_UNKNOWN_PATH = "/v1/sluice-unknown-api"
_SECONDS = 5.0


async def detect_apis(backend: HttpBackend) -> frozenset[Api]:
    """Return the APIs that `backend` complains about an empty request of.

    An empty JSON object makes no server work: one that knows the path misses the fields, with
    400 (vLLM, LM Studio, llama.cpp), 422 (FastAPI's own) or 500 (llama.cpp's messages). One that
    does not answers 404, or 200 with an error (LM Studio). A server that complains about any path
    in the same way tells nothing.

    Raises:
        BackendError: it cannot be asked.
    """
    unknown, _ = await backend.post_empty(_UNKNOWN_PATH, _SECONDS)
    found: set[Api] = set()
    for api in _PROBED:
        status, body = await backend.post_empty(API_PATHS[api], _SECONDS)
        misses_fields = status in (400, 422) or (status == 500 and b"required" in body)
        if misses_fields and status != unknown:
            found.add(api)
    return frozenset(found)
