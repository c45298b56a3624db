"""The gateway's application without sockets, in front of a backend that plays byte for byte."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import Message, Receive, Scope, Send

from contracts.settings import BackendSettings, Settings
from gateway.app import create_app
from gateway.backends.http import HttpBackend
from gateway.backends.requests import BackendRequest
from gateway.errors import Header
from gateway.request_context import RequestContext
from tests.gateway.conftest import UNREACHABLE_DATABASE, UNREACHABLE_NATS

MODEL = "tiny"


@dataclass(frozen=True)
class Delivery:
    """What comes over the backend's connection."""

    pieces: Sequence[bytes]
    """As they are read; none is empty."""
    content_type: str = "text/event-stream"
    breaks_off: bool = False
    """The connection is lost after the last piece, instead of being closed in good order."""

    @property
    def delivered(self) -> bytes:
        return b"".join(self.pieces)


class PlayedAnswer:
    """A `BackendAnswer` that reads from a delivery."""

    status = 200

    def __init__(self, backend: HttpBackend, path: str, delivery: Delivery) -> None:
        self.backend = backend.name
        self.path = path
        self.content_type = delivery.content_type
        self.headers: list[Header] = []
        self._server = backend
        self._pieces = list(delivery.pieces)
        self._breaks_off = delivery.breaks_off

    @property
    def is_event_stream(self) -> bool:
        return self.content_type == "text/event-stream"

    async def read_all(self) -> bytes:
        parts = []
        while part := await self.read_some():
            parts.append(part)
        return b"".join(parts)

    async def read_some(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._breaks_off:
            raise self._server.error("broke off its answer", "broken")
        return b""

    async def drain(self) -> None:
        return

    def close(self) -> None:
        self._pieces = []


@dataclass
class InProcessGateway:
    """Runs requests of an SDK on one event loop; `sent` is the last answer's body."""

    runner: asyncio.Runner
    transport: httpx2.AsyncBaseTransport
    delivery: Delivery = field(default_factory=lambda: Delivery(()))
    sent: bytes = b""


@contextmanager
def in_process_gateway(data_dir: Path) -> Iterator[InProcessGateway]:
    """Start the application; every backend request is answered with `delivery`."""
    settings = Settings(
        data_dir=data_dir,
        backends=(
            BackendSettings(
                name="played", kind="openai", url="http://127.0.0.1:1", models=(MODEL,)
            ),
        ),
        nats={"url": UNREACHABLE_NATS},
        postgres={"url": UNREACHABLE_DATABASE},
        encoder={"enabled": False},
        gateway={"shutdown_grace_seconds": 0.1},
    )
    app = create_app(settings)
    patch = pytest.MonkeyPatch()

    async def record(scope: Scope, receive: Receive, send: Send) -> None:
        gateway.sent = b""

        async def keep(message: Message) -> None:
            gateway.sent += message.get("body", b"")
            await send(message)

        await app(scope, receive, keep)

    async def play(
        backend: HttpBackend, request: BackendRequest, _context: RequestContext, *_more: Any
    ) -> PlayedAnswer:
        return PlayedAnswer(backend, request.path, gateway.delivery)

    with asyncio.Runner() as runner:
        gateway = InProcessGateway(runner, httpx2.ASGITransport(app=record))
        patch.setattr(HttpBackend, "open", play)
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        try:
            yield gateway
        finally:
            runner.run(lifespan.__aexit__(None, None, None))
            patch.undo()
