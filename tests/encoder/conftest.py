"""Fixtures: an encoder in the test's own event loop, and clients of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from contracts.listening import open_listener
from contracts.settings import EncoderSettings
from encoder.server import EncoderServer
from knowledge.encoding.engine import EncoderEngine
from knowledge.encoding.loading import load_encoder
from knowledge.encoding.remote_encoder import RemoteEncoder
from tests.support.hashing_encoder_engine import HashingEncoderEngine
from tests.support.ports import free_port

StartEncoder = Callable[..., AbstractAsyncContextManager["RunningEncoder"]]


@dataclass
class RunningEncoder:
    settings: EncoderSettings
    engine: Any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"


@asynccontextmanager
async def running_encoder(
    engine: Any = None, load: Callable[[], Any] | None = None, **settings: Any
) -> AsyncIterator[RunningEncoder]:
    """Serve `engine`, or what `load` returns, in this event loop until the end of the block."""
    engine = engine or HashingEncoderEngine()
    ports = {"port": free_port(), "grpc_port": free_port()}
    encoder_settings = EncoderSettings(**{**ports, **settings})
    server = EncoderServer(encoder_settings, load or (lambda: engine))
    with open_listener("127.0.0.1", encoder_settings.port, setting="encoder.port") as listener:
        serving = asyncio.create_task(server.http.serve(sockets=[listener]))
        running = RunningEncoder(encoder_settings, engine)
        try:
            while not server.http.started:
                await asyncio.sleep(0.005)
                assert not serving.done()
            if load is None:
                await _wait_for_model(running)
            yield running
        finally:
            server.http.should_exit = True
            await serving
    if server.failure is not None:
        raise server.failure


async def _wait_for_model(running: RunningEncoder) -> None:
    async with aiohttp.ClientSession() as session:
        while (await session.get(f"{running.url}/health")).status != 200:
            await asyncio.sleep(0.005)


@pytest.fixture(scope="package")
def encoder_engine(tmp_path_factory: pytest.TempPathFactory) -> EncoderEngine:
    """The engine with the built-in model."""
    return load_encoder(EncoderSettings(), tmp_path_factory.mktemp("models"))


@pytest.fixture
async def encoder() -> AsyncIterator[RunningEncoder]:
    """An encoder over a `HashingEncoderEngine`."""
    async with running_encoder() as running:
        yield running


@pytest.fixture
async def client(encoder: RunningEncoder) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client of `encoder`."""
    async with aiohttp.ClientSession(encoder.url) as session:
        yield session


@pytest.fixture
async def remote(encoder: RunningEncoder) -> AsyncIterator[RemoteEncoder]:
    """A gRPC client of `encoder`."""
    client = RemoteEncoder(encoder.settings.target, timeout_seconds=10)
    yield client
    await client.close()
