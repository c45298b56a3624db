"""The HTTP interfaces: shapes, limits and errors."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, BadRequestError

from encoder import body as encoder_body
from tests.encoder.conftest import RunningEncoder, running_encoder
from tests.support.hashing_encoder_engine import HASHING_MODEL, HashingEncoderEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = ["the gate opens at four metres", "the fee is paid in May", "gate"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encoder() -> AsyncIterator[RunningEncoder]:
    """One for all tests of the file: most ask it one thing."""
    async with running_encoder() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(encoder: RunningEncoder) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(encoder.url) as session:
        yield session


async def _post(client: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
    options = {"data": body} if isinstance(body, bytes) else {"json": body}
    async with client.post(path, **options) as reply:
        return reply.status, await reply.json()


async def test_embed_answers_one_vector_per_text(client: aiohttp.ClientSession) -> None:
    status, vectors = await _post(client, "/embed", {"inputs": TEXTS, "prompt_name": "document"})

    assert status == 200
    assert np.array(vectors).shape == (3, 256)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    _, (alone,) = await _post(client, "/embed", {"inputs": TEXTS[1], "prompt_name": "document"})
    assert alone == vectors[1]


async def test_query_and_document_are_different_inputs(client: aiohttp.ClientSession) -> None:
    _, (query,) = await _post(client, "/embed", {"inputs": "gate", "prompt_name": "query"})
    _, (document,) = await _post(client, "/embed", {"inputs": "gate", "prompt_name": "document"})

    assert query != document


async def test_fewer_dimensions_are_the_first_ones_normalised(
    client: aiohttp.ClientSession,
) -> None:
    body = {"inputs": "gate", "prompt_name": "query"}
    _, (full,) = await _post(client, "/embed", body)
    _, (cut,) = await _post(client, "/embed", {**body, "dimensions": 64})

    assert np.allclose(cut, np.array(full[:64]) / np.linalg.norm(full[:64]), atol=1e-6)


async def test_texts_over_the_models_length_are_cut_unless_truncation_is_refused(
    client: aiohttp.ClientSession,
) -> None:
    body = {"inputs": "word " * 300, "prompt_name": "document"}

    assert (await _post(client, "/embed", body))[0] == 200
    status, error = await _post(client, "/embed", {**body, "truncate": False})
    assert status == 413
    assert error["error_type"] == "Validation"
    assert "301 tokens" in error["error"]
    assert "256" in error["error"]


@pytest.mark.parametrize(
    ("body", "status", "error_type", "said"),
    [
        ({"inputs": "x"}, 422, "Validation", "`prompt_name` is missing"),
        ({"inputs": "x", "prompt_name": "passage"}, 422, "Validation", "prompt_name"),
        ({"prompt_name": "query"}, 422, "Validation", "inputs"),
        ({"inputs": [], "prompt_name": "query"}, 400, "Empty", "empty"),
        ({"inputs": [1.5], "prompt_name": "query"}, 422, "Validation", "list of strings"),
        ({"inputs": ["a", 1], "prompt_name": "query"}, 422, "Validation", "list of strings"),
        ({"inputs": [[]], "prompt_name": "query"}, 422, "Tokenizer", "empty"),
        ({"inputs": [30_000], "prompt_name": "query"}, 422, "Tokenizer", "vocabulary"),
        ({"inputs": ["x"] * 2049, "prompt_name": "query"}, 413, "Validation", "2048"),
        ({"inputs": "x", "prompt_name": "query", "normalize": False}, 422, "Validation", "L2"),
        ({"inputs": "x", "prompt_name": "query", "dimensions": 257}, 422, "Validation", "256"),
        ({"inputs": "x", "prompt_name": "query", "dimensions": 0}, 422, "Validation", "256"),
        (b'{"inputs": "x"', 422, "Validation", "JSON"),
        (b"\xff\xfe", 422, "Validation", "JSON"),
        (b'{"inputs": "\\ud800", "prompt_name": "query"}', 422, "Validation", "surrogate"),
        (b'{"inputs": "a\\udc00b", "prompt_name": "query"}', 422, "Validation", "surrogate"),
        (b"[]", 422, "Validation", "object"),
    ],
)
async def test_refusals_have_text_embeddings_inferences_shape(
    client: aiohttp.ClientSession, body: Any, status: int, error_type: str, said: str
) -> None:
    answer_status, error = await _post(client, "/embed", body)

    assert answer_status == status
    assert error.keys() == {"error", "error_type"}
    assert error["error_type"] == error_type
    assert said in error["error"]


async def test_token_ids_are_taken_as_the_texts_they_stand_for(
    client: aiohttp.ClientSession, encoder: RunningEncoder
) -> None:
    (tokenized,) = encoder.engine.tokenize(["gate opens"], kind="query")
    ids = tokenized.token_ids[1:]
    _, (by_text,) = await _post(client, "/embed", {"inputs": "gate opens", "prompt_name": "query"})

    assert await _post(client, "/embed", {"inputs": ids, "prompt_name": "query"}) == (
        200,
        [by_text],
    )
    assert await _post(client, "/embed", {"inputs": [ids, ids], "prompt_name": "query"}) == (
        200,
        [by_text, by_text],
    )


async def test_rerank_answers_best_first(client: aiohttp.ClientSession) -> None:
    body = {"query": "gate opens", "texts": ["nothing of it", "the gate opens", "a gate"]}

    status, results = await _post(client, "/rerank", {**body, "return_text": True})
    _, raw = await _post(client, "/rerank", {**body, "raw_scores": True})

    assert status == 200
    assert [each["index"] for each in results] == [1, 2, 0]
    assert results[0]["text"] == "the gate opens"
    assert results[0]["score"] == pytest.approx(1, abs=1e-3)
    assert raw[0].keys() == {"index", "score"}
    for result, raw_result in zip(results, raw, strict=True):
        assert result["score"] == pytest.approx((1 + raw_result["score"]) / 2)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": "x", "texts": []}, 400),
        ({"query": "x"}, 422),
        ({"query": "", "texts": ["x"]}, 422),
        ({"query": "x", "texts": ["x"] * 2049}, 413),
    ],
)
async def test_rerank_refuses_what_cannot_be_ranked(
    client: aiohttp.ClientSession, body: Any, status: int
) -> None:
    assert (await _post(client, "/rerank", body))[0] == status


async def test_a_model_without_token_vectors_does_not_rerank() -> None:
    model = HASHING_MODEL.__class__(**{**HASHING_MODEL.__dict__, "token_dimensions": None})
    async with (
        running_encoder(HashingEncoderEngine(model)) as running,
        aiohttp.ClientSession(running.url) as client,
    ):
        status, error = await _post(client, "/rerank", {"query": "x", "texts": ["y"]})

    assert status == 422
    assert "no token vectors" in error["error"]


@pytest.mark.parametrize("model", ["hashing", "sluice-encoder"])
async def test_the_openai_sdk_gets_embeddings(encoder: RunningEncoder, model: str) -> None:
    """It asks for base64 unless told otherwise."""
    async with AsyncOpenAI(base_url=f"{encoder.url}/v1", api_key="none") as openai:
        kind = {"input_type": "document"}
        packed = await openai.embeddings.create(input=TEXTS, model=model, extra_body=kind)
        floats = await openai.embeddings.create(
            input=TEXTS, model=model, encoding_format="float", extra_body=kind
        )
        small = await openai.embeddings.create(
            input="gate", model=model, dimensions=8, extra_body=kind
        )

    assert [each.index for each in packed.data] == [0, 1, 2]
    assert [each.embedding for each in packed.data] == [each.embedding for each in floats.data]
    assert packed.model == "hashing"
    assert packed.usage.prompt_tokens == packed.usage.total_tokens == 7 + 7 + 2
    assert len(small.data[0].embedding) == 8
    assert np.linalg.norm(small.data[0].embedding) == pytest.approx(1, abs=1e-5)


async def test_base64_is_the_same_floats(client: aiohttp.ClientSession) -> None:
    body = {"input": "gate", "input_type": "query"}
    _, floats = await _post(client, "/v1/embeddings", body)
    _, packed = await _post(client, "/v1/embeddings", {**body, "encoding_format": "base64"})

    data = base64.b64decode(packed["data"][0]["embedding"])
    assert np.frombuffer(data, "<f4").tolist() == floats["data"][0]["embedding"]


async def test_the_openai_sdk_is_told_that_the_kind_is_missing(encoder: RunningEncoder) -> None:
    async with AsyncOpenAI(base_url=f"{encoder.url}/v1", api_key="none") as openai:
        with pytest.raises(BadRequestError, match="input_type") as caught:
            await openai.embeddings.create(input="x", model="hashing")

    assert caught.value.param == "input_type"


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "code"),
    [
        ("/v1/embeddings", {"input": "x"}, 400, "input_type", "invalid_value"),
        ("/v1/embeddings", {"input": [], "input_type": "query"}, 400, "input", "invalid_value"),
        ("/v1/embeddings", {"input": {}, "input_type": "query"}, 400, "input", "invalid_value"),
        (
            "/v1/embeddings",
            {"input": "x", "input_type": "query", "model": "other"},
            404,
            "model",
            "model_not_found",
        ),
        (
            "/v1/embeddings",
            {"input": [-1], "input_type": "query"},
            400,
            None,
            "invalid_input",
        ),
        ("/v1/embeddings", b"{", 400, None, "invalid_value"),
        ("/v1/rerank", {"query": "x", "documents": []}, 400, None, "invalid_value"),
        ("/v1/rerank", {"query": "x", "documents": [1]}, 400, "documents[0]", "invalid_value"),
        (
            "/v1/rerank",
            {"query": "x", "documents": ["x"], "top_n": 0},
            400,
            "top_n",
            "invalid_value",
        ),
        (
            "/v1/rerank",
            {"query": "x", "documents": ["x"], "model": "other"},
            404,
            "model",
            "model_not_found",
        ),
        ("/v1/none", {}, 404, None, "invalid_value"),
    ],
)
async def test_v1_refusals_have_openais_envelope(
    client: aiohttp.ClientSession, path: str, body: Any, status: int, param: str | None, code: str
) -> None:
    answer_status, answer = await _post(client, path, body)

    assert answer_status == status
    assert answer.keys() == {"error"}
    error = answer["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert (error["param"], error["code"]) == (param, code)


async def test_v1_rerank_answers_the_best_documents(client: aiohttp.ClientSession) -> None:
    documents = ["nothing of it", {"text": "the gate opens"}, "a gate"]
    body = {"model": "hashing", "query": "gate opens", "documents": documents, "top_n": 2}

    status, answer = await _post(client, "/v1/rerank", body)
    _, with_documents = await _post(client, "/v1/rerank", {**body, "return_documents": True})

    assert status == 200
    assert answer["model"] == "hashing"
    assert [each["index"] for each in answer["results"]] == [1, 2]
    assert all(0 <= each["relevance_score"] <= 1 for each in answer["results"])
    assert answer["usage"]["total_tokens"] == 3 + 4 + 4 + 3
    assert with_documents["results"][0]["document"] == {"text": "the gate opens"}


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, is_chunked: bool
) -> None:
    monkeypatch.setattr(encoder_body, "MAX_BODY_BYTES", 1000)

    async def parts() -> Any:
        for _ in range(3):
            yield b"x" * 500

    status, error = await _post(client, "/embed", b"x" * 1001) if not is_chunked else (0, {})
    if is_chunked:
        async with client.post("/embed", data=parts()) as reply:
            status, error = reply.status, await reply.json()

    assert status == 413
    assert error["error_type"] == "Validation"


async def test_other_methods_are_refused(client: aiohttp.ClientSession) -> None:
    async with client.get("/embed") as reply:
        assert reply.status == 405
        assert (await reply.json())["error_type"] == "Validation"


async def test_health_names_the_model(client: aiohttp.ClientSession) -> None:
    async with client.get("/health") as reply:
        assert reply.status == 200
        assert await reply.json() == {
            "status": "ok",
            "model": "hashing",
            "dimensions": 256,
            "token_dimensions": 64,
        }


async def test_metrics_tell_what_was_done() -> None:
    async with running_encoder() as running, aiohttp.ClientSession(running.url) as client:
        await _post(client, "/embed", {"inputs": TEXTS, "prompt_name": "document"})
        await _post(client, "/embed", {"inputs": "x"})
        async with client.get("/metrics") as reply:
            text = await reply.text()

    for line in (
        'sluice_encoder_requests_total{endpoint="/embed",status="200"} 1.0',
        'sluice_encoder_requests_total{endpoint="/embed",status="422"} 1.0',
        'sluice_encoder_texts_total{kind="document"} 3.0',
        'sluice_encoder_tokens_total{kind="document"} 16.0',
        "sluice_encoder_queue_tokens 0.0",
        "sluice_encoder_batch_texts_count 1.0",
        "sluice_encoder_inference_seconds_count 1.0",
        "sluice_encoder_refusals_total 0.0",
    ):
        assert line in text


async def test_an_engine_that_fails_costs_only_its_batch(
    client: aiohttp.ClientSession, encoder: RunningEncoder
) -> None:
    encoder.engine.failing_words = {"poison"}

    status, error = await _post(client, "/embed", {"inputs": "poison", "prompt_name": "query"})
    v1_status, v1_error = await _post(
        client, "/v1/embeddings", {"input": "poison", "input_type": "query"}
    )
    next_status, _ = await _post(client, "/embed", {"inputs": "water", "prompt_name": "query"})

    assert (status, v1_status, next_status) == (500, 500, 200)
    assert error["error_type"] == "Backend"
    assert v1_error["error"]["code"] == "inference_failed"
    async with client.get("/metrics") as reply:
        assert "sluice_encoder_inference_failures_total 2.0" in await reply.text()
