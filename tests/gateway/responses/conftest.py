"""Fixtures: OpenAI's SDK before a gateway without a database, and before one with it."""

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream


@pytest.fixture
def stateless_gateway(start_gateway: StartGateway, upstream: ScriptedUpstream) -> RunningGateway:
    """A gateway that has neither a database nor a broker."""
    return start_gateway(backend_of(upstream))


@pytest.fixture
def stateful_gateway(
    start_gateway: StartGateway, upstream: ScriptedUpstream, database_url: str
) -> RunningGateway:
    """A gateway with a database."""
    return start_gateway(backend_of(upstream), database_url=database_url)


@pytest.fixture
async def stateless(stateless_gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with sdk_of(stateless_gateway) as client:
        yield client


@pytest.fixture
async def stateful(stateful_gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with sdk_of(stateful_gateway) as client:
        yield client


def sdk_of(gateway: RunningGateway, api_key: str = "none") -> AsyncOpenAI:
    """Return a client that tries once only."""
    return AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=api_key, max_retries=0)
