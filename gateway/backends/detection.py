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

    llama.cpp's responses are left out (seen in its version 11549); `backends.apis` may name them.

    Raises:
        BackendError: it cannot be asked.
    """
    unknown, text = await backend.post_empty(_UNKNOWN_PATH, _SECONDS)
    is_llamacpp = backend.kind == "llamacpp" or b"File Not Found" in text
    found: set[Api] = set()
    for api in _PROBED:
        if api == "responses" and is_llamacpp:
            # It has the path, but no client can use its events: they have neither sequence
            # numbers nor output indices, and an answer that was cut is called complete.
            continue
        status, body = await backend.post_empty(API_PATHS[api], _SECONDS)
        misses_fields = status in (400, 422) or (status == 500 and b"required" in body)
        if misses_fields and status != unknown:
            found.add(api)
    return frozenset(found)
