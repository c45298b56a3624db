"""`/metrics` of a gateway has what the list of metrics has, and nothing else."""

import aiohttp
from aiohttp import web

from contracts.metrics.definition import Exposer
from contracts.metrics.listing import metrics_of
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.scripted_upstream import ScriptedUpstream
from tests.support.exposition import check_exposition


async def test_a_gateway_shows_exactly_the_listed_metrics(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    gateway = start_gateway(backend_of(upstream), nats_url=nats_url)
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
        async with client.post(gateway.url + path, json=chat_body(max_tokens=5, input="Hello")):
            pass

    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no"}}, status=500)

    upstream.script = refuse
    async with client.post(f"{gateway.url}/v1/chat/completions", json=chat_body()):
        pass
    for path in ("/nowhere", "/v1/models", "/v1/models/none", "/v1/responses/none"):
        async with client.request("BREW" if path == "/nowhere" else "GET", gateway.url + path):
            pass
    async with client.get(f"{gateway.url}/metrics") as response:
        shown = check_exposition(await response.text(), Exposer.GATEWAY)
    assert shown == {each.name for each in metrics_of(Exposer.GATEWAY)}
