"""Fixtures: a gateway with the settings of a test, a scripted upstream, an HTTP client."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contracts.settings import BackendSettings, Settings
from tests.gateway.running_gateway import RunningGateway, running_gateway
from tests.gateway.scripted_upstream import ScriptedUpstream, scripted_upstream

StartGateway = Callable[..., RunningGateway]

UNREACHABLE_NATS = "nats://127.0.0.1:1"
UNREACHABLE_DATABASE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Start gateways that are stopped at the test's end.

    Without `nats_url` or `database_url` the gateway has no broker or no database, and without
    the section `encoder` no encoder.
    """
    with ExitStack() as stack:

        def start(
            *backends: BackendSettings,
            nats_url: str = UNREACHABLE_NATS,
            database_url: str = UNREACHABLE_DATABASE,
            **sections: Any,
        ) -> RunningGateway:
            gateway = {"shutdown_grace_seconds": 2.0, **sections.pop("gateway", {})}
            sections.setdefault("encoder", {"enabled": False})
            sections.setdefault("data_dir", tmp_path / "gateway-data")
            settings = Settings(
                backends=backends,
                nats={"url": nats_url},
                postgres={"url": database_url},
                gateway=gateway,
                **sections,
            )
            return stack.enter_context(running_gateway(settings))

        yield start


@pytest.fixture
def gateway(
    start_gateway: StartGateway, upstream: ScriptedUpstream, nats_url: str
) -> RunningGateway:
    """A gateway in front of `upstream`, with a broker and without a database."""
    return start_gateway(backend_of(upstream), nats_url=nats_url)


def backend_of(upstream: ScriptedUpstream, **fields: Any) -> BackendSettings:
    defaults: dict[str, Any] = {
        "name": "scripted",
        "kind": "vllm",
        "url": upstream.url,
        "models": ("tiny",),
    }
    return BackendSettings(**{**defaults, **fields})


def chat_body(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": "Say hello"}], **fields}
