"""`POST /v1/messages/count_tokens`, and `/v1/models` in Anthropic's shape."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.documents import ingest
from tests.gateway.scripted_upstream import Script, ScriptedUpstream, answer_json
from tests.gateway.test_messages import TOOL, sdk_of

COUNT = "/v1/messages/count_tokens"
ASKED: list[Any] = [{"role": "user", "content": "How do I request vacation?"}]


def vllm(count_of: dict[str, int]) -> Script:
    """Count as vLLM's `/tokenize` does; `count_of` tells by a word in the prompt."""

    async def script(request: web.Request) -> web.StreamResponse:
        assert request.path == "/tokenize"
        text = await request.text()
        count = next(count for word, count in count_of.items() if word in text)
        return await answer_json({"count": count, "max_model_len": 4096, "tokens": [1] * count})

    return script


async def test_behaviour_9_vllm_counts_system_tools_and_template(
    start_gateway: StartGateway, upstream: ScriptedUpstream
) -> None:
    upstream.script = vllm({"": 42})
    gateway = start_gateway(backend_of(upstream))
    async with sdk_of(gateway) as sdk:
        raw = await sdk.messages.with_raw_response.count_tokens(
            model="tiny", system="Be brief.", messages=ASKED, tools=[TOOL]
        )
        count = await raw.parse()
    assert count.input_tokens == 42
    assert count.model_extra == {"is_estimate": False, "retrieved_tokens": 0}
    assert raw.headers["X-Sluice-Token-Count"] == "exact"
    sent = upstream.requests[0].json
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *ASKED]
    assert sent["tools"][0]["function"]["name"] == "add"
    assert sent["add_generation_prompt"] is True


async def test_llamacpp_applies_its_template_and_counts_that(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    async def script(request: web.Request) -> web.StreamResponse:
        if request.path == "/apply-template":
            return await answer_json({"prompt": "user: hi\nassistant:"})
        return await answer_json({"tokens": [1, 2, 3, 4]})

    upstream.script = script
    gateway = start_gateway(backend_of(upstream, kind="llamacpp"))
    async with client.post(
        gateway.url + COUNT, json={"model": "tiny", "messages": ASKED}
    ) as response:
        assert (await response.json())["input_tokens"] == 4
        assert response.headers["request-id"]
    assert upstream.requests[0].json["messages"] == ASKED
    assert upstream.requests[1].json["content"] == "user: hi\nassistant:"
    assert upstream.requests[1].json["add_special"] is True


async def test_what_retrieval_will_add_is_counted(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
    client: aiohttp.ClientSession,
) -> None:
    ingest(sqlalchemy_url, tmp_path)
    upstream.script = vllm({"Zebrafish": 90, "vacation": 12})
    gateway = start_gateway(backend_of(upstream), database_url=database_url)
    body: dict[str, Any] = {"model": "tiny", "messages": ASKED}
    async with client.post(gateway.url + COUNT, json=body) as response:
        count = await response.json()
    assert (count["input_tokens"], count["retrieved_tokens"]) == (90, 78)
    assert count["sources"][0]["source"] == "docs/handbook.md"
    body["retrieval"] = {"enabled": False}
    async with client.post(gateway.url + COUNT, json=body) as response:
        assert await response.json() == {
            "input_tokens": 12,
            "is_estimate": False,
            "retrieved_tokens": 0,
        }


@pytest.mark.parametrize("status", [404, 200])
async def test_without_a_tokenizer_it_is_an_estimate_and_says_so(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    status: int,
) -> None:
    """LM Studio answers unknown paths with status 200 and an error."""
    upstream.script = lambda _request: answer_json({"error": "Unexpected endpoint"}, status=status)
    gateway = start_gateway(backend_of(upstream, kind="lmstudio"))
    counts = []
    for body in ({"messages": ASKED}, {"messages": ASKED, "tools": [TOOL], "system": "Be brief."}):
        async with client.post(gateway.url + COUNT, json={"model": "tiny", **body}) as response:
            count = await response.json()
            assert response.headers["X-Sluice-Token-Count"] == "estimate"
        assert count["is_estimate"] is True
        counts.append(count["input_tokens"])
    assert 0 < counts[0] < counts[1]


async def test_models_in_anthropics_shape(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream, models=("a", "b", "org/c")))
    async with sdk_of(gateway) as sdk:
        assert [model.id async for model in sdk.models.list(limit=2)] == ["a", "b", "org/c"]
        page = await sdk.models.list(before_id="org/c", limit=1)
        assert ([model.id for model in page.data], page.has_more) == (["b"], True)
        model = await sdk.models.retrieve("b")
    assert (model.id, model.display_name, model.type) == ("b", "b", "model")
    assert model.created_at.year == 1970
    async with client.get(f"{gateway.url}/v1/models") as response:
        assert (await response.json())["object"] == "list"
    version = {"anthropic-version": "2023-06-01"}
    url = f"{gateway.url}/v1/models?limit=0"
    async with client.get(url, headers=version) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"
