"""Which backend answers for a model, and what `/v1/models` lists."""

import asyncio

import aiohttp
import openai

from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream, scripted_upstream
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"


async def status_of(client: aiohttp.ClientSession, gateway: RunningGateway, model: str) -> int:
    async with client.post(gateway.url + CHAT, json=chat_body(model=model)) as response:
        return response.status


async def list_models(client: aiohttp.ClientSession, gateway: RunningGateway) -> dict[str, str]:
    async with client.get(f"{gateway.url}/v1/models") as response:
        assert response.status == 200
        listed = await response.json()
    assert listed["object"] == "list"
    return {model["id"]: model["owned_by"] for model in listed["data"]}


async def test_names_win_over_wildcards_and_the_first_backend_over_later_ones(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    async with scripted_upstream() as other:
        gateway = start_gateway(
            backend_of(upstream, name="wild", models=("qwen*", "*-base")),
            backend_of(other, name="exact", models=("qwen-32b", "qwen.[x]")),
        )
        assert await status_of(client, gateway, "qwen-7b") == 200
        assert await status_of(client, gateway, "llama-base") == 200
        assert len(upstream.requests) == 2
        assert await status_of(client, gateway, "qwen-32b") == 200
        assert await status_of(client, gateway, "qwen.[x]") == 200
        assert len(other.requests) == 2
        assert await status_of(client, gateway, "llama") == 404


async def test_a_backend_without_models_is_asked(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.models = ("org/first", "second")
    gateway = start_gateway(backend_of(upstream, models=()))
    assert await list_models(client, gateway) == {"org/first": "scripted", "second": "scripted"}
    assert await status_of(client, gateway, "org/first") == 200
    for _ in range(20):
        assert await status_of(client, gateway, "second") == 200
    assert upstream.list_requests <= 2

    upstream.models = ("loaded-later",)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x") as sdk:
        await asyncio.sleep(1.1)
        completion = await sdk.chat.completions.create(
            model="loaded-later", messages=[{"role": "user", "content": "hi"}]
        )
    assert completion.choices[0].message.content == "Hello."


async def test_one_model_by_its_name(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.models = ("org/first",)
    gateway = start_gateway(backend_of(upstream, models=()))
    async with client.get(f"{gateway.url}/v1/models/org/first") as response:
        assert await response.json() == {
            "id": "org/first",
            "object": "model",
            "created": 7,
            "owned_by": "scripted",
        }
    async with client.get(f"{gateway.url}/v1/models/org/second") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "model_not_found"


async def test_one_backend_down_harms_no_other(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    gateway = start_gateway(
        backend_of(upstream, name="dead", url=dead, models=()),
        backend_of(upstream, name="alive", models=()),
    )
    assert await list_models(client, gateway) == {"tiny": "alive"}
    assert await status_of(client, gateway, "tiny") == 200
    async with client.post(gateway.url + CHAT, json=chat_body(model="other")) as response:
        assert response.status == 503
        assert "'dead'" in (await response.json())["error"]["message"]


async def test_a_list_that_was_known_stays_known(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream, models=()))
    assert await status_of(client, gateway, "tiny") == 200
    upstream.models = None
    await asyncio.sleep(1.1)
    assert await status_of(client, gateway, "other") == 404
    assert await status_of(client, gateway, "tiny") == 200


async def test_wildcards_list_what_the_server_has(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.models = ("qwen-7b", "unrelated")
    gateway = start_gateway(backend_of(upstream, models=("qwen*", "fixed")))
    assert await list_models(client, gateway) == {"fixed": "scripted", "qwen-7b": "scripted"}
