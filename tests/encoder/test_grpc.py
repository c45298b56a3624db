"""The gRPC interface, over its stub and over `RemoteEncoder`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import grpc.aio
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from contracts.encoder import RETRY_AFTER
from contracts.protos import encoder_pb2
from contracts.protos.encoder_pb2_grpc import EncoderStub
from encoder import service
from knowledge.encoding import remote_calls
from knowledge.encoding.remote_encoder import RemoteEncoder
from knowledge.ports import EncoderOverloaded, EncoderRefused, EncoderUnavailable
from tests.encoder.blocked_engine import BlockedEngine
from tests.encoder.conftest import RunningEncoder, running_encoder
from tests.support.hashing_encoder_engine import HASHING_MODEL
from tests.support.ports import free_port

TEXTS = ["the gate opens at four metres", "the fee is paid in May", "gate", ""]


@pytest.fixture
async def channel(encoder: RunningEncoder) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(encoder.settings.target) as channel:
        yield channel


async def test_describe_says_what_is_served(remote: RemoteEncoder) -> None:
    assert await remote.describe() == HASHING_MODEL


async def test_vectors_are_the_engines_own(encoder: RunningEncoder, remote: RemoteEncoder) -> None:
    for kind in ("query", "document"):
        encodings = await remote.encode(TEXTS, kind=kind, with_tokens=True)
        direct = encoder.engine.encode(TEXTS, kind=kind, with_tokens=True)
        for encoding, expected in zip(encodings, direct, strict=True):
            assert encoding.dense.tobytes() == expected.dense.tobytes()
            assert encoding.token_count == expected.token_count
            assert np.array_equal(encoding.tokens.reshape(expected.tokens.shape), expected.tokens)
    assert (await remote.encode(TEXTS, kind="query"))[0].tokens is None
    assert await remote.encode([], kind="query") == []


async def test_http_and_grpc_give_the_same_vectors(
    client: aiohttp.ClientSession, remote: RemoteEncoder
) -> None:
    for text in TEXTS:
        (encoding,) = await remote.encode([text], kind="document")
        body = {"inputs": text, "prompt_name": "document"}
        async with client.post("/embed", json=body) as reply:
            (vector,) = await reply.json()
        assert np.array(vector, np.float32).tobytes() == encoding.dense.tobytes()


async def test_long_lists_are_several_calls(
    remote: RemoteEncoder, client: aiohttp.ClientSession, encoder: RunningEncoder
) -> None:
    texts = [f"text {number}" for number in range(150)]

    encodings = await remote.encode(texts, kind="document", with_tokens=True)

    expected = encoder.engine.encode(texts, kind="document")
    assert [each.dense.tolist() for each in encodings] == [each.dense.tolist() for each in expected]
    async with client.get("/metrics") as reply:
        counted = 'sluice_encoder_requests_total{endpoint="grpc/Embed",status="OK"} 3.0'
        assert counted in await reply.text()


def test_texts_are_split_by_their_size_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_calls, "_BYTES_OF_CALL", 40)
    texts = ["a" * 5, "b" * 5, "c", "d" * 100, "e"]

    parts = list(remote_calls.split_texts(texts, with_tokens=False))

    assert parts == [["aaaaa", "bbbbb"], ["c"], ["d" * 100], ["e"]]


async def test_rerank_scores_are_in_the_texts_order(channel: Any) -> None:
    request = encoder_pb2.RerankRequest(query="gate opens", texts=["none of it", "the gate opens"])

    reply = await EncoderStub(channel).Rerank(request)

    assert reply.model == "hashing"
    assert reply.scores[1] == pytest.approx(1, abs=1e-3)
    assert reply.scores[0] < 0.5


@pytest.mark.parametrize(
    ("request_fields", "said"),
    [
        ({"texts": ["x"]}, "KIND_QUERY"),
        ({"texts": [], "kind": encoder_pb2.KIND_QUERY}, "empty"),
        ({"texts": ["x"] * 2049, "kind": encoder_pb2.KIND_QUERY}, "2048"),
    ],
)
async def test_wrong_requests_are_invalid_arguments(
    channel: Any, request_fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await EncoderStub(channel).Embed(encoder_pb2.EmbedRequest(**request_fields))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in caught.value.details()


async def test_a_reply_that_would_be_too_large_is_refused(
    remote: RemoteEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_MESSAGE_BYTES", 4000)

    with pytest.raises(EncoderRefused, match="fewer texts"):
        await remote.encode(["one two three four"] * 4, kind="document", with_tokens=True)


async def test_unpaired_surrogates_are_refused(remote: RemoteEncoder) -> None:
    with pytest.raises(EncoderRefused, match="Unicode"):
        await remote.encode(["a\ud800b"], kind="query")


async def test_an_engine_that_fails_is_an_internal_error(
    encoder: RunningEncoder, remote: RemoteEncoder
) -> None:
    encoder.engine.failing_words = {"poison"}

    with pytest.raises(EncoderUnavailable, match="INTERNAL"):
        await remote.encode(["poison"], kind="query")
    assert len(await remote.encode(["water"], kind="query")) == 1


async def test_a_full_queue_refuses_over_both_interfaces() -> None:
    engine = BlockedEngine()
    async with (
        running_encoder(engine, queue_tokens=80) as running,
        aiohttp.ClientSession(running.url) as client,
    ):
        remote = RemoteEncoder(running.settings.target, timeout_seconds=10)
        try:
            first = asyncio.create_task(remote.encode(["one"], kind="query"))
            await asyncio.to_thread(engine.has_begun.wait, 10)
            waiting = asyncio.create_task(remote.encode(["two " * 60] * 2, kind="query"))
            while await _queue_tokens(client) == 0:
                await asyncio.sleep(0.01)

            with pytest.raises(EncoderOverloaded) as caught:
                await remote.encode(["three " * 60], kind="query")
            assert caught.value.retry_after_seconds >= 1

            body = {"inputs": "three " * 60, "prompt_name": "query"}
            async with client.post("/embed", json=body) as reply:
                assert reply.status == 429
                assert int(reply.headers["Retry-After"]) >= 1
                assert (await reply.json())["error_type"] == "Overloaded"
            body = {"input": "three " * 60, "input_type": "query"}
            async with client.post("/v1/embeddings", json=body) as reply:
                assert reply.status == 429
                assert int(reply.headers["Retry-After"]) >= 1
                assert (await reply.json())["error"]["code"] == "queue_full"

            request = encoder_pb2.EmbedRequest(texts=["x " * 60], kind=encoder_pb2.KIND_QUERY)
            async with grpc.aio.insecure_channel(running.settings.target) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await EncoderStub(channel).Embed(request)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert int(dict(refused.value.trailing_metadata())[RETRY_AFTER]) >= 1
        finally:
            engine.release()
        assert len(await first) == 1
        assert len(await waiting) == 2
        await remote.close()


async def test_a_cancelled_call_leaves_the_queue() -> None:
    engine = BlockedEngine()
    async with (
        running_encoder(engine) as running,
        grpc.aio.insecure_channel(running.settings.target) as channel,
        aiohttp.ClientSession(running.url) as client,
    ):
        remote = RemoteEncoder(running.settings.target, timeout_seconds=10)
        first = asyncio.create_task(remote.encode(["one"], kind="query"))
        await asyncio.to_thread(engine.has_begun.wait, 10)
        request = encoder_pb2.EmbedRequest(texts=["two two"], kind=encoder_pb2.KIND_DOCUMENT)
        over_grpc = EncoderStub(channel).Embed(request)
        body = {"inputs": "two two", "prompt_name": "document"}
        over_http = asyncio.create_task(client.post("/embed", json=body))
        while await _queue_tokens(client) != 6:
            await asyncio.sleep(0.01)

        over_grpc.cancel()
        over_http.cancel()

        while await _queue_tokens(client) != 0:
            await asyncio.sleep(0.01)
        engine.release()
        assert len(await first) == 1
        assert len(engine.texts_begun) == 1
        await remote.close()


async def test_callers_that_give_up_leave_nothing_in_memory() -> None:
    engine = BlockedEngine()
    process = psutil.Process()
    async with running_encoder(engine) as running:
        remote = RemoteEncoder(running.settings.target, timeout_seconds=10)

        async def give_up(rounds: int) -> None:
            for _ in range(rounds):
                engine.has_begun.clear()
                calls = [
                    asyncio.create_task(remote.encode(["water"], kind="query")) for _ in range(50)
                ]
                await asyncio.to_thread(engine.has_begun.wait, 10)
                for call in calls:
                    call.cancel()
                await asyncio.wait(calls)
                engine.release(50)
                # It is answered after those that were given up.
                await remote.encode(["water"], kind="query")

        await give_up(20)
        before = process.memory_info().rss
        await give_up(80)

        # grpc.aio keeps 0.95 KiB of each call that is itself cancelled.
        assert process.memory_info().rss - before < 80 * 50 * 512
        await remote.close()


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    engine = BlockedEngine()
    async with running_encoder(engine) as running:
        remote = RemoteEncoder(running.settings.target, timeout_seconds=0.2)
        with pytest.raises(EncoderUnavailable, match=r"did not answer within 0\.2 s"):
            await remote.encode(["one"], kind="query")
        engine.release()
        assert len(await remote.encode(["one"], kind="query", timeout_seconds=10)) == 1
        await remote.close()


async def test_nobody_there_is_said_at_once() -> None:
    remote = RemoteEncoder(f"127.0.0.1:{free_port()}", timeout_seconds=10)

    with pytest.raises(EncoderUnavailable, match="cannot be reached"):
        await remote.describe()

    await remote.close()
    with pytest.raises(EncoderUnavailable, match="closed"):
        await remote.describe()


async def test_health_service_says_that_the_model_is_there(channel: Any) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "sluice.encoder.v1.Encoder"):
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def _queue_tokens(client: aiohttp.ClientSession) -> float:
    async with client.get("/metrics") as reply:
        text = await reply.text()
    return float(text.partition("\nsluice_encoder_queue_tokens ")[2].partition("\n")[0])
