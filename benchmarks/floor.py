"""The floor below the gateway: bare Starlette, uvicorn and aiohttp, the body passed through.

It decodes nothing, records nothing and publishes nothing. Run as
`python -m benchmarks.floor PORT UPSTREAM_URL`.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from benchmarks.bare_server import serve
from benchmarks.gateway_metrics import FLOOR
from benchmarks.gateway_server import GatewayServer

_HEADERS = {"Content-Type": "application/json"}
_ROUTE = "/v1/chat/completions"


def create_floor(upstream_url: str) -> Starlette:
    """Return an application that forwards chat requests to `upstream_url` and answers back."""
    url = f"{upstream_url}{_ROUTE}"

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            app.state.session = session
            yield

    async def forward(request: Request) -> Response:
        session: aiohttp.ClientSession = request.app.state.session
        answer = await session.post(url, data=await request.body(), headers=_HEADERS)
        if answer.content_type == "text/event-stream":
            return StreamingResponse(
                _chunks_of(answer), answer.status, media_type=answer.content_type
            )
        async with answer:
            return Response(await answer.read(), answer.status, media_type=answer.content_type)

    return Starlette(routes=[Route(_ROUTE, forward, methods=["POST"])], lifespan=lifespan)


async def _chunks_of(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with answer:
        async for chunk in answer.content.iter_any():
            yield chunk


def floor_server(_folder: Path, port: int, upstream_url: str) -> GatewayServer:
    """Return how the floor is run."""
    return GatewayServer(
        name=FLOOR,
        base_url=f"http://127.0.0.1:{port}",
        command=(sys.executable, "-m", "benchmarks.floor", str(port), upstream_url),
    )


def main(port: int, upstream_url: str) -> None:
    """Serve until the process is told to stop."""
    serve(create_floor(upstream_url), port)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
