"""`POST /v1/embeddings`: by the encoder and by backends, all forms of input and output."""

import asyncio
import base64
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import openai
import pytest

from contracts.subjects import PipelineSubject, TelemetrySubject
from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.recorded_events import RecordedEvent, read_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream
from tests.support.hashing_encoder_engine import HashingEncoderEngine
from tests.support.hashing_encoder_process import EncoderProcess, encoder_process

EMBEDDINGS = "/v1/embeddings"
MODEL = "hashing"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncoderProcess]:
    with encoder_process(tmp_path_factory.mktemp("encoder") / "log") as process:
        yield process


@pytest.fixture
def gateway(
    start_gateway: StartGateway, upstream: ScriptedUpstream, encoder: EncoderProcess, nats_url: str
) -> RunningGateway:
    """A gateway with the encoder and a backend."""
    return start_gateway(
        backend_of(upstream), nats_url=nats_url, encoder=encoder.settings.model_dump()
    )


def vector_of(text: str, kind: Any = "document") -> np.ndarray:
    return HashingEncoderEngine().encode([text], kind=kind)[0].dense


async def embed(
    client: aiohttp.ClientSession, gateway: RunningGateway, **fields: Any
) -> tuple[int, Any]:
    async with client.post(gateway.url + EMBEDDINGS, json=fields) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("model", [MODEL, "sluice-encoder"])
async def test_openai_sdk_gets_vectors_of_the_encoder(gateway: RunningGateway, model: str) -> None:
    texts = ["a weir", "a lock"]
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x") as sdk:
        one = await sdk.embeddings.create(model=model, input=texts[0])
        two = await sdk.embeddings.create(model=model, input=texts, encoding_format="float")
    assert one.model == two.model == MODEL
    assert one.usage.prompt_tokens == one.usage.total_tokens == 3
    assert [item.index for item in two.data] == [0, 1]
    np.testing.assert_array_equal(np.float32(one.data[0].embedding), vector_of(texts[0]))
    for item, text in zip(two.data, texts, strict=True):
        np.testing.assert_array_equal(np.float32(item.embedding), vector_of(text))


async def test_base64_is_float32_in_little_endian(
    gateway: RunningGateway, client: aiohttp.ClientSession
) -> None:
    for encoding_format, is_base64 in (("base64", True), (None, False), ("float", False)):
        status, answer = await embed(
            client, gateway, model=MODEL, input="a weir", encoding_format=encoding_format
        )
        assert status == 200
        embedding = answer["data"][0]["embedding"]
        assert isinstance(embedding, str) is is_base64
        if is_base64:
            embedding = np.frombuffer(base64.b64decode(embedding), "<f4")
        np.testing.assert_array_equal(np.float32(embedding), vector_of("a weir"))


async def test_the_kind_is_document_unless_it_is_said(
    gateway: RunningGateway, client: aiohttp.ClientSession
) -> None:
    for fields, kind in (({}, "document"), ({"input_type": "query"}, "query")):
        _, answer = await embed(client, gateway, model=MODEL, input="a weir", **fields)
        embedding = np.float32(answer["data"][0]["embedding"])
        np.testing.assert_array_equal(embedding, vector_of("a weir", kind))


async def test_fewer_dimensions_are_the_first_ones_normalised_again(
    gateway: RunningGateway, client: aiohttp.ClientSession
) -> None:
    status, answer = await embed(client, gateway, model=MODEL, input="a weir", dimensions=64)
    assert status == 200
    embedding = np.float32(answer["data"][0]["embedding"])
    expected = vector_of("a weir")[:64]
    np.testing.assert_allclose(embedding, expected / np.linalg.norm(expected), rtol=1e-6)


async def test_many_texts_keep_their_order(
    gateway: RunningGateway, client: aiohttp.ClientSession
) -> None:
    texts = [f"text number {number}" for number in range(300)]
    status, answer = await embed(client, gateway, model=MODEL, input=texts)
    assert status == 200
    assert [item["index"] for item in answer["data"]] == list(range(300))
    for number in (0, 63, 64, 299):
        embedding = np.float32(answer["data"][number]["embedding"])
        np.testing.assert_array_equal(embedding, vector_of(texts[number]))


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": None}, "input", "invalid_type"),
        ({"input": 7}, "input", "invalid_type"),
        ({"input": ""}, "input[0]", "empty_string"),
        ({"input": []}, "input", "empty_array"),
        ({"input": ["a", ""]}, "input[1]", "empty_string"),
        ({"input": ["a", 1]}, "input", "invalid_type"),
        ({"input": [1, 2]}, "input", "invalid_type"),
        ({"input": [[1], [2]]}, "input", "invalid_type"),
        ({"input": ["a"] * 2049}, "input", "array_above_max_length"),
        ({"input": ["a", "word " * 300]}, "input[1]", "context_length_exceeded"),
        (
            {"input": "word " * 40, "input_type": "query"},
            "input[0]",
            "context_length_exceeded",
        ),
        ({"input": "a", "input_type": "passage"}, "input_type", "invalid_value"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "invalid_type"),
        ({"input": "a", "dimensions": 257}, "dimensions", "invalid_value"),
        ({"input": "a", "dimensions": 0}, "dimensions", "invalid_value"),
        ({"input": "a", "dimensions": "64"}, "dimensions", "invalid_type"),
    ],
)
async def test_wrong_requests_are_400(
    gateway: RunningGateway,
    client: aiohttp.ClientSession,
    fields: dict[str, Any],
    param: str,
    code: str,
) -> None:
    status, answer = await embed(client, gateway, model=MODEL, **fields)
    assert status == 400
    error = answer["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert error["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "hashing", "input": "\\ud800"}'])
async def test_what_is_no_request_is_400(
    gateway: RunningGateway, client: aiohttp.ClientSession, body: bytes
) -> None:
    async with client.post(gateway.url + EMBEDDINGS, data=body) as response:
        assert response.status == 400
        assert set((await response.json())["error"]) == {"message", "type", "param", "code"}


async def test_long_texts_are_cut_where_that_is_wanted(
    gateway: RunningGateway, client: aiohttp.ClientSession
) -> None:
    text = "word " * 300
    status, answer = await embed(client, gateway, model=MODEL, input=text, truncate=True)
    assert status == 200
    assert answer["usage"]["prompt_tokens"] == 256


async def test_events_of_an_answered_call(
    gateway: RunningGateway, nats_url: str, client: aiohttp.ClientSession
) -> None:
    headers = {"X-Correlation-ID": "embedded"}
    body = {"model": "sluice-encoder", "input": ["a weir", "b"], "dimensions": 32}
    async with client.post(gateway.url + EMBEDDINGS, json=body, headers=headers) as response:
        assert response.status == 200
        assert response.headers["Server-Timing"].startswith("embed;dur=")
    pipeline, telemetry = await wait_for_embedding_events(nats_url, "embedded")
    payload = pipeline.event.payload
    assert (payload.model, payload.kind, payload.input_count) == (MODEL, "document", 2)
    assert (payload.dimensions, payload.prompt_tokens) == (32, 5)
    assert payload.duration_seconds > 0
    assert (telemetry.event.payload.model, telemetry.event.payload.input_count) == (MODEL, 2)


async def test_models_of_the_encoder_are_listed(
    gateway: RunningGateway, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{gateway.url}/v1/models") as response:
        models = {model["id"]: model["owned_by"] for model in (await response.json())["data"]}
    assert models == {"tiny": "scripted", MODEL: "sluice", "sluice-encoder": "sluice"}
    async with client.get(f"{gateway.url}/v1/models/sluice-encoder") as response:
        assert (await response.json())["owned_by"] == "sluice"
    async with client.get(f"{gateway.url}/healthz?verbose") as response:
        assert (await response.json())["encoder"]["status"] == "ok"


async def test_unknown_model_is_404(gateway: RunningGateway, client: aiohttp.ClientSession) -> None:
    status, answer = await embed(client, gateway, model="nobody", input="a")
    assert status == 404
    assert answer["error"]["code"] == "model_not_found"
    assert "tiny, hashing, sluice-encoder" in answer["error"]["message"]


async def test_a_full_queue_is_429_with_retry_after(
    start_gateway: StartGateway, tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    with encoder_process(tmp_path / "log", queue_tokens=64, seconds_per_batch=0.5) as encoder:
        gateway = start_gateway(encoder=encoder.settings.model_dump())

        async def ask(number: int) -> tuple[int, str | None, Any]:
            body = {"model": MODEL, "input": f"text {number} " * 25}
            async with client.post(gateway.url + EMBEDDINGS, json=body) as response:
                retry_after = response.headers.get("Retry-After")
                return response.status, retry_after, await response.json()

        answers = await asyncio.gather(*(ask(number) for number in range(4)))
        async with client.get(f"{gateway.url}/metrics") as response:
            metrics = await response.text()
    assert {status for status, _, _ in answers} == {200, 429}
    refused = [answer for answer in answers if answer[0] == 429]
    for _, retry_after, answer in refused:
        assert retry_after is not None
        assert int(retry_after) >= 1
        assert answer["error"]["code"] == "encoder_overloaded"
    reason = 'backend_errors_total{backend="sluice-encoder",reason="overloaded"}'
    assert f"{reason} {len(refused)}.0" in metrics


async def test_an_encoder_that_is_down_is_503_and_back_when_it_is_back(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    tmp_path: Path,
    client: aiohttp.ClientSession,
) -> None:
    upstream.models = ("tiny",)
    with encoder_process(tmp_path / "log") as encoder:
        gateway = start_gateway(backend_of(upstream), encoder=encoder.settings.model_dump())
        assert (await embed(client, gateway, model=MODEL, input="a"))[0] == 200
        encoder.send(signal.SIGSTOP)
        waiting = asyncio.create_task(embed(client, gateway, model=MODEL, input="a"))
        await asyncio.sleep(0.2)
        encoder.kill()
        status, answer = await waiting
        assert (status, answer["error"]["code"]) == (503, "encoder_unavailable")
        assert (await embed(client, gateway, model=MODEL, input="a"))[0] == 503
        assert (await embed(client, gateway, model="tiny", input="a"))[0] == 200
        encoder.start()
        async with asyncio.timeout(10):
            while (await embed(client, gateway, model=MODEL, input="a"))[0] != 200:
                await asyncio.sleep(0.1)


async def test_an_encoder_that_never_was_there_may_serve_any_model(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream), encoder={"enabled": True, "url": "127.0.0.1:1"})
    assert (await embed(client, gateway, model="sluice-encoder", input="a"))[0] == 503
    assert (await embed(client, gateway, model="nobody", input="a"))[0] == 503
    assert (await embed(client, gateway, model="tiny", input="a"))[0] == 200
    async with client.get(f"{gateway.url}/v1/models") as response:
        assert [model["id"] for model in (await response.json())["data"]] == ["tiny"]
    async with client.get(f"{gateway.url}/healthz?verbose") as response:
        health = await response.json()
    assert (health["status"], health["encoder"]["status"]) == ("degraded", "unreachable")


async def test_without_an_encoder_only_backends_serve(
    start_gateway: StartGateway, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway()
    status, answer = await embed(client, gateway, model="sluice-encoder", input="a")
    assert (status, answer["error"]["code"]) == (404, "model_not_found")


async def test_a_backend_gets_the_clients_own_request(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    body = {"model": "tiny", "input": [[1, 2], [3]], "dimensions": 3, "encoding_format": None}
    headers = {"X-Correlation-ID": "passed-on", "Authorization": "Bearer sk-client"}
    async with client.post(gateway.url + EMBEDDINGS, json=body, headers=headers) as response:
        assert response.status == 200
        assert response.headers["Server-Timing"].startswith("backend;dur=")
        answer = await response.json()
    assert answer == upstream.embeddings([0.5, -0.25, 1e-3], [0.5, -0.25, 1e-3])
    sent = upstream.requests[0]
    assert sent.json == {"model": "tiny", "input": [[1, 2], [3]], "dimensions": 3}
    assert "sk-client" not in str(sent.headers)
    pipeline, _ = await wait_for_embedding_events(nats_url, "passed-on")
    payload = pipeline.event.payload
    assert (payload.model, payload.input_count, payload.dimensions) == ("tiny", 2, 3)
    assert payload.prompt_tokens == 4


async def test_base64_is_made_where_the_backend_ignores_it(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x") as sdk:
        answer = await sdk.embeddings.create(model="tiny", input=["a", "b"])
    assert upstream.requests[0].json["encoding_format"] == "base64"
    assert [item.embedding for item in answer.data] == [
        pytest.approx([0.5, -0.25, 1e-3]),
        pytest.approx([0.5, -0.25, 1e-3]),
    ]
    assert answer.usage.prompt_tokens == 4


@pytest.mark.parametrize("status", [400, 429])
async def test_backend_errors_pass_through(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    status: int,
) -> None:
    upstream.embeddings_status = status
    async with client.post(
        gateway.url + EMBEDDINGS, json={"model": "tiny", "input": "a"}
    ) as response:
        assert response.status == status
        assert await response.json() == {"error": {"message": "refused"}}


async def test_what_is_no_embeddings_is_502(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.embeddings = lambda *_vectors: {"data": [{"embedding": ["a"]}]}  # type: ignore[method-assign]
    status, answer = await embed(client, gateway, model="tiny", input="a")
    assert (status, answer["error"]["code"]) == (502, "backend_invalid")


async def test_disconnect_cancels_the_backend(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.embeddings_seconds = 30
    impatient = aiohttp.ClientTimeout(total=0.5)
    async with aiohttp.ClientSession(timeout=impatient) as client:
        with pytest.raises(TimeoutError):
            await embed(client, gateway, model="tiny", input="a")
    await asyncio.wait_for(upstream.was_cut.wait(), 5)


async def wait_for_embedding_events(
    nats_url: str, correlation_id: str
) -> tuple[RecordedEvent, RecordedEvent]:
    """Return the event for the pipeline and the one for telemetry."""
    async with asyncio.timeout(10):
        while True:
            found = {
                recorded.subject: recorded
                for recorded in await read_events(nats_url)
                if recorded.event.correlation_id == correlation_id
            }
            if len(found) == 2:
                return found[PipelineSubject.EMBEDDING], found[TelemetrySubject.EMBEDDING]
            await asyncio.sleep(0.05)
