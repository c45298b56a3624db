"""The encoder over the built-in model, as it is run."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import numpy as np
import pytest

from contracts.settings import EncoderSettings
from knowledge.encoding.engine import EncoderEngine
from knowledge.encoding.remote_encoder import RemoteEncoder
from knowledge.ports import EmbeddingKind
from sluice.servers.encoder import encoder_process
from tests.encoder.conftest import RunningEncoder, running_encoder
from tests.support.ports import free_port
from tests.support.processes import running

TEXTS = ["How is a gate opened?", "", "Überlauf am Wehr \U0001f30a", "water level " * 500]


@pytest.fixture
async def encoder(encoder_engine: EncoderEngine) -> AsyncIterator[RunningEncoder]:
    async with running_encoder(encoder_engine) as encoder:
        yield encoder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncoderSettings]:
    """The settings of `python -m encoder` that runs."""
    folder = tmp_path_factory.mktemp("encoder")
    settings = EncoderSettings(port=free_port(), grpc_port=free_port())
    environment = {
        "SLUICE_DATA_DIR": str(folder),
        "SLUICE_ENCODER_PORT": str(settings.port),
        "SLUICE_ENCODER_GRPC_PORT": str(settings.grpc_port),
    }
    with running(encoder_process(settings, environment), log=folder / "log"):
        yield settings


@pytest.mark.parametrize("kind", ["query", "document"])
async def test_http_and_grpc_give_the_same_vectors_bit_for_bit(
    served: EncoderSettings, kind: EmbeddingKind
) -> None:
    remote = RemoteEncoder(served.target, timeout_seconds=60)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{served.port}") as client:
        for text in TEXTS:
            (encoding,) = await remote.encode([text], kind=kind)
            body = {"inputs": text, "prompt_name": kind}
            async with client.post("/embed", json=body) as reply:
                (vector,) = await reply.json()

            assert np.array(vector, np.float32).tobytes() == encoding.dense.tobytes()
    await remote.close()


async def test_a_text_over_the_length_is_cut_or_refused_with_both_lengths(
    client: aiohttp.ClientSession, encoder: RunningEncoder
) -> None:
    longest = encoder.engine.model.max_document_tokens
    body = {"inputs": "water " * 500, "prompt_name": "document"}

    async with client.post("/embed", json=body) as reply:
        assert reply.status == 200
    async with client.post("/embed", json={**body, "truncate": False}) as reply:
        assert reply.status == 413
        message = (await reply.json())["error"]
    assert "502 tokens" in message
    assert str(longest) in message


async def test_rerank_puts_the_answer_first(client: aiohttp.ClientSession) -> None:
    documents = [
        "The museum opens at ten in the morning.",
        "The sluice gate is opened by turning the crank to the left.",
        "Fish migrate upstream in April.",
    ]
    body = {"query": "How do I open the sluice gate?", "documents": documents}

    async with client.post("/v1/rerank", json=body) as reply:
        results = (await reply.json())["results"]

    assert results[0]["index"] == 1


async def test_queries_are_answered_while_documents_wait(remote: RemoteEncoder) -> None:
    documents = [f"Paragraph {number}. " + "The water rises. " * 40 for number in range(200)]
    ingest = asyncio.create_task(
        remote.encode(documents, kind="document", with_tokens=True, timeout_seconds=120)
    )
    await asyncio.sleep(0.1)

    answers = [await remote.encode(["How high is it?"], kind="query") for _ in range(5)]

    assert not ingest.done()
    assert all(len(each) == 1 for each in answers)
    assert len(await ingest) == 200
