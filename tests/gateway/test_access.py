"""API keys: who gets in, with which models and collections, how often, recorded how."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from contracts.subjects import PipelineSubject, TelemetrySubject
from gateway.access.api_keys import read_key_id
from gateway.access.key_file import revoke_key
from tests.gateway.access_keys import bearer, make_key
from tests.gateway.anthropic_stream import MESSAGES, message_body
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.documents import ingest
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import STREAM, ScriptedUpstream, answer_json, stream_script

CHAT = "/v1/chat/completions"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def start_guarded(start_gateway: StartGateway, upstream: ScriptedUpstream, key_file: Path) -> Any:
    """Start a gateway in front of `upstream` that knows the keys of `key_file`."""

    def start(**options: Any) -> RunningGateway:
        backend = backend_of(upstream, models=("tiny", "tiny-2", "other"))
        return start_gateway(backend, gateway={"keys_file": key_file}, **options)

    return start


async def test_without_keys_nobody_needs_one(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream))
    async with client.post(
        gateway.url + CHAT, json=chat_body(), headers=bearer("unused")
    ) as response:
        assert response.status == 200
        assert "x-ratelimit-limit-requests" not in response.headers


async def test_only_a_valid_key_comes_in(
    start_guarded: Any, client: aiohttp.ClientSession, key_file: Path
) -> None:
    key = make_key(key_file)
    expired = make_key(
        key_file, "old", expires_at=datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    )
    revoked = make_key(key_file, "gone")
    revoke_key(key_file, str(read_key_id(revoked.encode())))
    gateway = start_guarded()

    async def ask(**headers: str) -> tuple[int, dict[str, Any]]:
        async with client.post(gateway.url + CHAT, json=chat_body(), headers=headers) as response:
            if response.status == 401:
                assert response.headers["WWW-Authenticate"] == "Bearer"
            return response.status, await response.json()

    for allowed in (
        {"Authorization": f"Bearer {key}"},
        {"authorization": f"bearer  {key}"},
        {"x-api-key": key},
        {"x-api-key": "unused", "Authorization": f"Bearer {key}"},
        {"x-api-key": key, "Authorization": "Basic dXNlcjpwdw=="},
    ):
        assert (await ask(**allowed))[0] == 200
    same_id = f"{key[:-4]}AAAA"
    for refused, said in (
        ({}, "No API key"),
        ({"Authorization": f"Basic {key}"}, "No API key"),
        ({"Authorization": "Bearer unused"}, "not known"),
        ({"x-api-key": same_id}, "not known"),
        ({"x-api-key": expired}, "has expired"),
        ({"x-api-key": revoked}, "was revoked"),
    ):
        status, body = await ask(**refused)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        assert said in body["error"]["message"]
        assert key[-20:] not in str(body)


async def test_signs_of_life_need_no_key_and_details_do(
    start_guarded: Any, client: aiohttp.ClientSession, key_file: Path
) -> None:
    key = make_key(key_file)
    gateway = start_guarded()
    for path, status in (
        ("/healthz", 200),
        ("/healthz?verbose", 401),
        ("/metrics", 401),
        ("/v1/models", 401),
        ("/no/such/path", 401),
    ):
        async with client.get(gateway.url + path) as response:
            assert response.status == status
        async with client.get(gateway.url + path, headers=bearer(key)) as response:
            assert response.status == (404 if path.startswith("/no") else 200)


async def test_a_key_is_limited_to_its_models(
    start_guarded: Any, client: aiohttp.ClientSession, key_file: Path, upstream: ScriptedUpstream
) -> None:
    headers = bearer(make_key(key_file, models=["tiny*"]))
    gateway = start_guarded()
    for model, status in (("tiny", 200), ("tiny-2", 200), ("other", 403)):
        body = chat_body(model=model)
        async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
            assert response.status == status
            answer = await response.json()
    assert answer["error"]["code"] == "model_not_allowed"
    assert answer["error"]["param"] == "model"
    body = {"model": "other", "input": "a"}
    url = f"{gateway.url}/v1/embeddings"
    async with client.post(url, json=body, headers=headers) as response:
        assert response.status == 403
    async with client.get(f"{gateway.url}/v1/models", headers=headers) as response:
        listed = [each["id"] for each in (await response.json())["data"]]
    assert listed == ["tiny", "tiny-2"]
    async with client.get(f"{gateway.url}/v1/models/other", headers=headers) as response:
        assert response.status == 404
    assert len(upstream.requests) == 2


async def test_a_key_is_limited_to_its_collections(
    start_guarded: Any,
    client: aiohttp.ClientSession,
    key_file: Path,
    tmp_path: Path,
    database_url: str,
    sqlalchemy_url: str,
) -> None:
    for collection, sentence in (
        ("one", "The sluice gate is painted green every spring."),
        ("two", "Beside the lock stands a sluice gate of oak."),
        ("three", "Nobody may open the sluice gate at night."),
    ):
        text = f"# {collection}\n\n{sentence}"
        ingest(sqlalchemy_url, tmp_path, text=text, collection=collection)
    headers = bearer(make_key(key_file, collections=["one", "two"]))
    gateway = start_guarded(database_url=database_url, retrieval={"timeout_seconds": 20})

    async def sources(**fields: Any) -> set[str] | int:
        body = chat_body(
            messages=[{"role": "user", "content": "Which colour has the sluice gate?"}], **fields
        )
        async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
            if response.status != 200:
                return response.status
            return {each["title"] for each in (await response.json())["sources"]}

    assert await sources() == {"one", "two"}
    assert await sources(retrieval={"collection": "two"}) == {"two"}
    assert await sources(retrieval={"collection": "three"}) == 403


async def test_requests_a_minute(
    start_guarded: Any, client: aiohttp.ClientSession, key_file: Path, upstream: ScriptedUpstream
) -> None:
    async def with_limits_of_its_own(_request: web.Request) -> web.StreamResponse:
        response = await answer_json({"choices": []})
        response.headers["x-ratelimit-remaining-requests"] = "7777"
        return response

    upstream.script = with_limits_of_its_own
    headers = bearer(make_key(key_file, requests_per_minute=3))
    unlimited = bearer(make_key(key_file, "free"))
    gateway = start_guarded()
    remaining = []
    for _ in range(3):
        async with client.post(gateway.url + CHAT, json=chat_body(), headers=headers) as response:
            assert response.status == 200
            assert response.headers["x-ratelimit-limit-requests"] == "3"
            remaining += response.headers.getall("x-ratelimit-remaining-requests")
    assert remaining == ["2", "1", "0"]
    async with client.post(gateway.url + CHAT, json=chat_body(), headers=headers) as response:
        body = await response.json()
        assert (response.status, body["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 1 <= int(response.headers["Retry-After"]) <= 20
        assert response.headers["x-ratelimit-remaining-requests"] == "0"
    async with client.post(gateway.url + CHAT, json=chat_body(), headers=unlimited) as response:
        assert response.status == 200
        assert response.headers["x-ratelimit-remaining-requests"] == "7777"
    assert len(upstream.requests) == 4


async def test_anthropics_headers_tell_its_clients_what_is_left(
    start_guarded: Any, client: aiohttp.ClientSession, key_file: Path
) -> None:
    headers = bearer(make_key(key_file, requests_per_minute=2, tokens_per_minute=1000))
    gateway = start_guarded()
    for status, remaining in ((200, "1"), (200, "0"), (429, "0")):
        async with client.post(
            gateway.url + MESSAGES, json=message_body(), headers=headers
        ) as response:
            assert response.status == status
            assert response.headers["anthropic-ratelimit-requests-limit"] == "2"
            assert response.headers["anthropic-ratelimit-requests-remaining"] == remaining
            assert response.headers["anthropic-ratelimit-tokens-limit"] == "1000"
            reset = response.headers["anthropic-ratelimit-requests-reset"]
            seconds = (datetime.fromisoformat(reset) - datetime.now(UTC)).total_seconds()
            assert -2 < seconds <= 60
            assert not any(name.lower().startswith("x-ratelimit") for name in response.headers)


async def test_tokens_a_minute(
    start_guarded: Any, client: aiohttp.ClientSession, key_file: Path
) -> None:
    headers = bearer(make_key(key_file, tokens_per_minute=20))
    gateway = start_guarded()
    statuses, remaining = [], []
    for _ in range(3):
        async with client.post(gateway.url + CHAT, json=chat_body(), headers=headers) as response:
            statuses.append(response.status)
            remaining.append(int(response.headers["x-ratelimit-remaining-tokens"]))
    # Each call takes 11: the second starts with 9 left, the third with none.
    assert statuses == [200, 200, 429]
    assert remaining[0] == 20
    assert 9 <= remaining[1] <= 11
    assert remaining[2] == 0


async def test_a_stream_without_usage_is_charged_by_its_events(
    start_guarded: Any, client: aiohttp.ClientSession, key_file: Path, upstream: ScriptedUpstream
) -> None:
    without_usage = (*STREAM[:1], *([STREAM[1]] * 50), STREAM[3], STREAM[5])
    upstream.script = stream_script(without_usage)
    headers = bearer(make_key(key_file, tokens_per_minute=1000))
    gateway = start_guarded()
    body = chat_body(stream=True)
    async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
        await response.read()
    async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
        remaining = int(response.headers["x-ratelimit-remaining-tokens"])
    assert 900 < remaining < 950


async def test_the_clients_credential_stays_here(
    start_guarded: Any, client: aiohttp.ClientSession, key_file: Path, upstream: ScriptedUpstream
) -> None:
    key = make_key(key_file)
    gateway = start_guarded()
    headers = {"Authorization": f"Bearer {key}", "x-api-key": key, "Cookie": f"key={key}"}
    for path, body in ((CHAT, chat_body()), ("/v1/embeddings", {"model": "tiny", "input": "a"})):
        async with client.post(gateway.url + path, json=body, headers=headers) as response:
            assert response.status == 200
    assert len(upstream.requests) == 2
    for request in upstream.requests:
        assert "sk-sluice" not in str(request.headers)
        assert "sk-sluice" not in request.body.decode()


@pytest.mark.parametrize("capture", ["full", "redacted", "off"])
async def test_events_name_the_key_and_hold_what_it_allows(
    start_guarded: Any,
    client: aiohttp.ClientSession,
    key_file: Path,
    upstream: ScriptedUpstream,
    nats_url: str,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
    capture: str,
) -> None:
    ingest(sqlalchemy_url, tmp_path, text="# Gates\n\nThe confidential gate opens at nine.")
    call = {"id": "call-1", "type": "function"}
    call["function"] = {"name": "lookup", "arguments": '{"who": "confidential"}'}  # type: ignore[assignment]
    answer = {"role": "assistant", "content": "A confidential answer.", "tool_calls": [call]}
    upstream.script = lambda _request: answer_json(
        {
            "choices": [{"index": 0, "message": answer, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
        }
    )
    key = make_key(key_file, content_capture=capture)
    gateway = start_guarded(
        nats_url=nats_url, database_url=database_url, retrieval={"timeout_seconds": 20}
    )
    body = chat_body(
        messages=[
            {"role": "system", "name": "confidential", "content": "Be confidential."},
            {"role": "user", "content": [{"type": "text", "text": "When does the gate open?"}]},
        ],
        temperature=0.5,
        user="confidential",
    )
    headers = {**bearer(key), "X-Correlation-ID": f"capture-{capture}"}
    async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
        assert response.status == 200
        assert (await response.json())["choices"][0]["message"] == answer
    events = await wait_for_events(nats_url, f"capture-{capture}")
    for recorded in (each for of_subject in events.values() for each in of_subject):
        assert recorded.event.api_key_name == "team"
        assert recorded.event.content_capture == capture
        if capture != "full":
            text = str(recorded.event)
            assert "confidential" not in text
            assert "gate" not in text
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.model, chat.usage.total_tokens, chat.finish_reason) == ("tiny", 11, "tool_calls")
    assert chat.parameters["temperature"] == 0.5
    assert len(chat.source_chunk_ids) == 1
    assert events[PipelineSubject.TOOL_CALL][0].event.payload.function_name == "lookup"
    assert len(events[PipelineSubject.RETRIEVE][0].event.payload.candidates) == 1
    assert events[TelemetrySubject.CHAT][0].event.payload.usage.prompt_tokens == 9
    if capture == "full":
        assert chat.messages == body["messages"]
    elif capture == "off":
        assert (chat.messages, chat.answer) == ([], None)
    else:
        assert chat.messages == [
            {"role": "system", "name": "[redacted]", "content": "[redacted]"},
            {"role": "user", "content": [{"type": "text", "text": "[redacted]"}]},
        ]
        assert chat.answer["tool_calls"][0] == {
            "id": "call-1",
            "type": "function",
            "function": {"name": "lookup", "arguments": "[redacted]"},
        }
