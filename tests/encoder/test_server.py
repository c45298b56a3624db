"""The encoder's life: start, loading, faults, end."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contracts.listening import CannotListen
from contracts.settings import EncoderSettings
from encoder.server import serve
from knowledge.encoding.remote_encoder import BlockingRemoteEncoder, RemoteEncoder
from knowledge.ports import EncoderOverloaded, EncoderUnavailable
from tests.encoder.blocked_engine import BlockedEngine
from tests.encoder.conftest import running_encoder
from tests.support.hashing_encoder_engine import HashingEncoderEngine
from tests.support.hashing_encoder_process import encoder_process
from tests.support.ports import free_port


async def test_it_says_that_it_is_loading_until_it_has_its_model() -> None:
    may_load = threading.Event()

    def load() -> Any:
        may_load.wait(20)
        return HashingEncoderEngine()

    async with (
        running_encoder(load=load) as running,
        aiohttp.ClientSession(running.url) as client,
    ):
        remote = RemoteEncoder(running.settings.target, timeout_seconds=10)
        async with client.get("/health") as reply:
            assert reply.status == 503
        async with client.post("/embed", json={"inputs": "x", "prompt_name": "query"}) as reply:
            assert reply.status == 503
            assert int(reply.headers["Retry-After"]) > 0
            assert (await reply.json())["error_type"] == "Unhealthy"
        with pytest.raises(EncoderUnavailable, match="being loaded"):
            await remote.describe()

        may_load.set()
        while (await client.get("/health")).status != 200:
            await asyncio.sleep(0.01)
        assert (await remote.describe()).name == "hashing"
        await remote.close()


async def test_a_model_that_cannot_be_loaded_ends_it() -> None:
    def load() -> Any:
        raise RuntimeError("no such model")

    async def run() -> None:
        async with running_encoder(load=load) as running:
            while await _answers(running.url):
                await asyncio.sleep(0.01)

    with pytest.raises(RuntimeError, match="no such model"):
        await run()


@pytest.mark.parametrize("setting", ["port", "grpc_port"])
def test_a_taken_port_is_named_with_its_setting(setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"port": free_port(), "grpc_port": free_port()}
        settings = EncoderSettings(**{**ports, setting: taken.getsockname()[1]})

        with pytest.raises(CannotListen, match=rf"encoder\.{setting} "):
            serve(settings, HashingEncoderEngine)  # type: ignore[arg-type]


async def test_nothing_is_left_after_it_has_stopped() -> None:
    # gRPC's own thread comes with the first server and stays.
    async with running_encoder():
        pass
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())

    async with running_encoder() as running:
        remote = RemoteEncoder(running.settings.target, timeout_seconds=10)
        await remote.encode(["x " * 2000], kind="document")
        await remote.close()

    assert asyncio.all_tasks() == tasks
    left = set(threading.enumerate()) - threads
    assert not [each.name for each in left if each.name.startswith("encoder")]


async def test_stopping_fails_what_waits() -> None:
    engine = BlockedEngine()
    async with running_encoder(engine) as running:
        remote = RemoteEncoder(running.settings.target, timeout_seconds=20)
        first = asyncio.create_task(remote.encode(["one"], kind="query"))
        await asyncio.to_thread(engine.has_begun.wait, 10)
        second = asyncio.create_task(remote.encode(["two"], kind="query"))
        await asyncio.sleep(0.05)
        threading.Timer(1.0, engine.release).start()

    for call in (first, second):
        with pytest.raises(EncoderUnavailable):
            await call
    await remote.close()


async def test_a_killed_encoder_is_unavailable_and_is_used_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    with encoder_process(tmp_path / "log") as process:
        remote = RemoteEncoder(process.settings.target, timeout_seconds=20)
        before = await remote.encode(["the gate"], kind="query")
        process.send(signal.SIGSTOP)
        call = asyncio.create_task(remote.encode(["the gate"], kind="query"))
        await asyncio.sleep(0.1)
        assert not call.done()

        process.kill()

        with pytest.raises(EncoderUnavailable, match="cannot be reached"):
            await call
        with pytest.raises(EncoderUnavailable, match="cannot be reached"):
            await remote.encode(["the gate"], kind="query")

        await asyncio.to_thread(process.start)
        started = time.monotonic()
        while True:
            try:
                after = await remote.encode(["the gate"], kind="query")
                break
            except EncoderUnavailable:
                assert time.monotonic() - started < 10
                await asyncio.sleep(0.02)
        assert after[0].dense.tobytes() == before[0].dense.tobytes()
        await remote.close()


async def test_another_model_is_noticed_by_its_first_answer(tmp_path: Path) -> None:
    with encoder_process(tmp_path / "log") as process:
        remote = RemoteEncoder(process.settings.target, timeout_seconds=20)
        assert (await remote.describe()).name == "hashing"
        process.kill()
        process.model_name, process.dimensions = "other", 128
        await asyncio.to_thread(process.start)
        while True:
            try:
                (encoding,) = await remote.encode(["x"], kind="query")
                break
            except EncoderUnavailable:
                await asyncio.sleep(0.02)

        assert encoding.dense.shape == (128,)
        assert (await remote.describe()).dimensions == 128
        await remote.close()


def test_the_blocking_client_waits_for_its_turn(tmp_path: Path) -> None:
    texts = [f"text {number} " + "word " * 20 for number in range(100)]
    with (
        encoder_process(tmp_path / "log", queue_tokens=5000, seconds_per_batch=0.05) as process,
        BlockingRemoteEncoder(process.settings.target) as first,
        BlockingRemoteEncoder(process.settings.target) as second,
        BlockingRemoteEncoder(process.settings.target, patience_seconds=0.01) as hasty,
    ):
        results: list[int] = []
        refusals: list[EncoderOverloaded] = []

        def encode(client: BlockingRemoteEncoder) -> None:
            try:
                results.extend(
                    encoding.token_count
                    for encoding in client.encode(texts, kind="document", with_tokens=True)
                )
            except EncoderOverloaded as refusal:
                refusals.append(refusal)

        clients = [first, second, hasty, hasty, hasty, hasty]
        threads = [threading.Thread(target=encode, args=(each,)) for each in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert first.model.name == "hashing"
    assert len(results) >= 200
    assert len(results) == 100 * (len(clients) - len(refusals))


def test_sigterm_ends_the_process_while_the_model_is_loaded() -> None:
    """Loading is as slow as the first start's build of a model."""
    port, grpc_port = free_port(), free_port()
    program = (
        "import time; from contracts.settings import EncoderSettings;"
        "from encoder.server import serve;"
        f"serve(EncoderSettings(port={port}, grpc_port={grpc_port}), lambda: time.sleep(60))"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        deadline = time.monotonic() + 30
        while not asyncio.run(_answers(f"http://127.0.0.1:{port}")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

        process.send_signal(signal.SIGTERM)

        assert process.wait(10) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as client, client.get(f"{url}/health"):
            return True
    except aiohttp.ClientError:
        return False
