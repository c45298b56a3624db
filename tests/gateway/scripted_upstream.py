"""A model server that answers as a test says: for faults and exact byte sequences."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.gateway.served_app import served

Script = Callable[[web.Request], Awaitable[web.StreamResponse]]

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "tiny",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


def chunk(delta: dict[str, Any], *, finish_reason: str | None = None, **fields: Any) -> bytes:
    """One event of a stream, with the spaces that Python's json writes."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        **fields,
    }
    return f"data: {json.dumps(body)}\n\n".encode()


USAGE_EVENT = chunk({}, choices=[], usage=COMPLETION["usage"])
DONE_EVENT = b"data: [DONE]\n\n"
STREAM = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo."}),
    chunk({}, finish_reason="stop"),
    USAGE_EVENT,
    DONE_EVENT,
)


@dataclass
class ReceivedRequest:
    """What the gateway sent."""

    headers: dict[str, str]
    body: bytes
    path: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ScriptedUpstream:
    """The server; `script` answers the chat and messages requests, `models` are what it lists."""

    url: str = ""
    script: Script = field(default=lambda _request: answer_json(COMPLETION))
    responses_script: Script | None = None
    """Answers `/v1/responses`, for a server that has it."""
    models: Sequence[str] | None = ("tiny",)
    """None: listing models fails."""
    embeddings_status: int = 200
    embeddings_seconds: float = 0
    """How long a request for embeddings takes."""
    requests: list[ReceivedRequest] = field(default_factory=list)
    list_requests: int = 0
    was_cut: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the gateway closed a connection before the script had ended."""

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if body == b"{}" and request.path != "/v1/chat/completions":
            # Somebody looks which APIs there are.
            raise web.HTTPNotFound
        self.requests.append(ReceivedRequest(dict(request.headers), body, request.path))
        try:
            return await self.script(request)
        except (asyncio.CancelledError, ConnectionError):
            self.was_cut.set()
            raise

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        if self.responses_script is None:
            return web.Response(status=404)
        body = await request.read()
        self.requests.append(ReceivedRequest(dict(request.headers), body))
        try:
            return await self.responses_script(request)
        except (asyncio.CancelledError, ConnectionError):
            self.was_cut.set()
            raise

    @staticmethod
    def embeddings(*vectors: Sequence[float]) -> dict[str, Any]:
        """The answer to a request for embeddings."""
        data = [
            {"object": "embedding", "index": index, "embedding": list(vector)}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        return {"object": "list", "data": data, "model": "tiny", "usage": usage}

    async def _embeddings(self, request: web.Request) -> web.Response:
        """As a server that knows no base64: numbers, whatever was asked for."""
        body = await request.read()
        self.requests.append(ReceivedRequest(dict(request.headers), body))
        try:
            await asyncio.sleep(self.embeddings_seconds)
        except asyncio.CancelledError:
            self.was_cut.set()
            raise
        if self.embeddings_status != 200:
            refusal = {"error": {"message": "refused"}}
            return web.json_response(refusal, status=self.embeddings_status)
        asked = json.loads(body)["input"]
        count = len(asked) if isinstance(asked, list) else 1
        return web.json_response(self.embeddings(*[[0.5, -0.25, 1e-3]] * count))

    async def _models(self, _request: web.Request) -> web.Response:
        self.list_requests += 1
        if self.models is None:
            return web.Response(status=500)
        data = [{"id": model, "object": "model", "created": 7} for model in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="OK")


async def answer_json(
    content: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    return web.json_response(content, status=status, headers=headers)


def stream_script(
    parts: Sequence[bytes],
    *,
    pause: float = 0,
    wait_at_end: bool = False,
    breaks_off: bool = False,
) -> Script:
    """Return a script that writes `parts` one by one."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(pause)
        if wait_at_end:
            await asyncio.sleep(60)
        if breaks_off and request.transport is not None:
            request.transport.abort()
        return response

    return script


@asynccontextmanager
async def scripted_upstream() -> AsyncIterator[ScriptedUpstream]:
    """Run the server on a free port of 127.0.0.1."""
    upstream = ScriptedUpstream()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    for path in ("/v1/chat/completions", "/v1/messages", "/apply-template", "/tokenize"):
        app.router.add_post(path, upstream._chat)
    app.router.add_post("/v1/responses", upstream._responses)
    app.router.add_post("/v1/embeddings", upstream._embeddings)
    app.router.add_get("/v1/models", upstream._models)
    app.router.add_get("/health", upstream._health)
    async with served(app) as upstream.url:
        yield upstream
