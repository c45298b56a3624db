"""A model server that streams at an even pace, so that what a proxy adds can be seen.

Run as `python -m benchmarks.paced_upstream PORT`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from benchmarks.bare_server import serve
from sluice.servers.probes import tcp_probe
from sluice.servers.spec import ProcessSpec

MODEL = "paced-model"
CHUNK_INTERVAL_SECONDS = 0.05


class _ChatRequest(msgspec.Struct):
    max_tokens: int = 0
    max_completion_tokens: int = 0
    """A gateway may write the newer name."""


_request_decoder = msgspec.json.Decoder(_ChatRequest)


async def stream_completion(request: Request) -> Response:
    """Answer with `max_tokens` chunks of text, one each `CHUNK_INTERVAL_SECONDS`."""
    wanted = _request_decoder.decode(await request.body())
    chunk_count = wanted.max_tokens or wanted.max_completion_tokens
    return StreamingResponse(_events(chunk_count), headers={"content-type": "text/event-stream"})


async def _events(chunk_count: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(chunk_count):
        # From the start, not from the last chunk: delays must not add up.
        await asyncio.sleep(started + number * CHUNK_INTERVAL_SECONDS - loop.time())
        yield _chunk({"content": f" word{number}"}, None)
    yield _chunk({}, "stop") + b"data: [DONE]\n\n"


def _chunk(delta: dict[str, str], finish_reason: str | None) -> bytes:
    chunk = {
        "id": "chatcmpl-7f3a9c2e51b04d6f",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def paced_upstream_process(port: int) -> ProcessSpec:
    """Return how this server is run."""
    return ProcessSpec(
        name="paced upstream",
        command=(sys.executable, "-m", "benchmarks.paced_upstream", str(port)),
        probe=tcp_probe("127.0.0.1", port),
    )


def main(port: int) -> None:
    """Serve until the process is told to stop."""
    routes = [Route("/v1/chat/completions", stream_completion, methods=["POST"])]
    serve(Starlette(routes=routes), port)


if __name__ == "__main__":
    main(int(sys.argv[1]))
