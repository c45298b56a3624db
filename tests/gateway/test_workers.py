"""Several workers: one port, one set of limits, one set of figures, and one that dies."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from gateway.access.rate_limits import Limits
from gateway.backends.slots import Waiter
from gateway.workers.shared_levels import SharedLevels
from gateway.workers.shared_places import SharedPlaces, SharedSlots
from tests.gateway.access_keys import bearer, make_key
from tests.gateway.conftest import chat_body
from tests.gateway.gateway_process import (
    gateway_process,
    log_lines,
    run_until_exit,
    wait_for_line,
    wait_until_alive,
    write_settings,
)
from tests.gateway.scripted_upstream import COMPLETION, ScriptedUpstream, answer_json
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"
WORKERS = 2


class Gateway:
    """A gateway of two workers, and requests each on a connection of its own."""

    def __init__(self, url: str, pid: int, log: Path, headers: dict[str, str]) -> None:
        self.url = url
        self.process = psutil.Process(pid)
        self.log = log
        self.headers = headers

    def workers(self) -> list[psutil.Process]:
        return self.process.children()

    async def ask(self, path: str = CHAT) -> tuple[int, str]:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            method = "POST" if path == CHAT else "GET"
            body = chat_body() if path == CHAT else None
            async with session.request(
                method, self.url + path, json=body, headers=self.headers
            ) as response:
                return response.status, await response.text()

    async def samples(self) -> dict[str, float]:
        _, text = await self.ask("/metrics")
        return {
            sample.name.removeprefix("sluice_gateway_")
            + "".join(f" {value}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@asynccontextmanager
async def two_workers(
    tmp_path: Path,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    backend: str = "",
    **rights: int,
) -> AsyncIterator[Gateway]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    headers = bearer(make_key(tmp_path / "keys.json", **rights))
    settings = f'workers = {WORKERS}\nkeys_file = "keys.json"\nshutdown_grace_seconds = 2'
    write_settings(
        tmp_path, port, backend_url=upstream.url, gateway=settings, backend_settings=backend
    )
    with gateway_process(tmp_path) as (process, log):
        await wait_until_alive(client, url)
        async with asyncio.timeout(30):
            while log.read_text().count("Application startup complete") < WORKERS:
                await asyncio.sleep(0.05)
        yield Gateway(url, process.pid, log, headers)


async def test_limits_and_figures_are_those_of_all(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    async with two_workers(tmp_path, upstream, client, requests_per_minute=40) as gateway:
        assert len(gateway.workers()) == WORKERS
        statuses = []
        for _ in range(5):
            statuses += [
                status for status, _ in await asyncio.gather(*(gateway.ask() for _ in range(10)))
            ]
        # The bucket lets one more in every 1.5 s.
        assert 40 <= statuses.count(200) <= 40 + 20
        assert set(statuses) == {200, 429}
        # Every connection may meet another worker; all say the same.
        for _ in range(4):
            samples = await gateway.samples()
            assert samples[f"requests_total POST {CHAT} 200"] == statuses.count(200)
            assert samples[f"requests_total POST {CHAT} 429"] == statuses.count(429)
        assert samples["tokens_total scripted prompt"] == 9 * statuses.count(200)
        assert samples["broker_connected"] == 0
        waiting = 2 * statuses.count(200)
        async with asyncio.timeout(20):
            # The figures of the other worker's publisher are up to a second old.
            while (await gateway.samples())["events_waiting"] < waiting:
                await asyncio.sleep(0.1)
        assert samples["process_resident_memory_bytes"] > 2 * 20e6


async def test_a_worker_that_dies_is_replaced_and_its_counters_stay(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    async with two_workers(tmp_path, upstream, client) as gateway:
        for _ in range(10):
            assert (await gateway.ask())[0] == 200
        before = {child.pid for child in gateway.workers()}
        os.kill(min(before), signal.SIGKILL)
        await wait_for_line(gateway.log, lambda line: line["event"] == "worker ended")
        # Nobody is turned away meanwhile.
        for _ in range(10):
            assert (await gateway.ask())[0] == 200
        async with asyncio.timeout(20):
            while len(gateway.workers()) < WORKERS or min(before) in {
                child.pid for child in gateway.workers()
            }:
                await asyncio.sleep(0.05)
        assert (await gateway.samples())[f"requests_total POST {CHAT} 200"] == 20


async def test_all_stop_in_order_and_none_is_left(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    async with two_workers(tmp_path, upstream, client) as gateway:
        workers = gateway.workers()
        gateway.process.send_signal(signal.SIGTERM)
        assert psutil.wait_procs([gateway.process, *workers], timeout=20)[1] == []
    events = [line["event"] for line in log_lines(gateway.log)]
    assert events.count("gateway stopped") == WORKERS
    assert "Traceback" not in gateway.log.read_text()


async def test_workers_end_with_their_parent(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    async with two_workers(tmp_path, upstream, client) as gateway:
        workers = gateway.workers()
        gateway.process.kill()
        assert psutil.wait_procs(workers, timeout=20)[1] == []


def test_what_stops_one_stops_several_before_they_start(tmp_path: Path) -> None:
    settings = {"SLUICE_GATEWAY_WORKERS": "2", "SLUICE_GATEWAY_HOST": "0.0.0.0"}
    finished = run_until_exit(tmp_path, **settings)
    assert finished.returncode == 1
    assert "not a loopback address" in finished.stderr


def test_shared_levels_lose_no_update() -> None:
    """Four processes at once: exactly as many are let in as there is room for."""
    levels = SharedLevels(64)
    limits = Limits(requests=1000, tokens=None)
    children = []
    for _ in range(4):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            admitted = sum(
                levels.admit("0123456789ab", limits, 100.0).full is None for _ in range(400)
            )
            os.write(writing, str(admitted).encode())
            os._exit(0)
        children.append((pid, reading, writing))
    total = 0
    for pid, reading, writing in children:
        os.waitpid(pid, 0)
        total += int(os.read(reading, 16))
        os.close(reading)
        os.close(writing)
    assert total == 1000


def test_a_full_table_gives_up_the_key_used_longest_ago() -> None:
    levels = SharedLevels(16)
    limits = Limits(requests=1, tokens=None)
    for number in range(1, 17):
        assert levels.admit(f"{number:012x}", limits, float(number)).full is None
    assert levels.admit(f"{17:012x}", limits, 17.0).full is None
    assert levels.admit(f"{16:012x}", limits, 17.0).full == "requests"
    assert levels.admit(f"{1:012x}", limits, 17.0).full is None


async def test_a_backends_places_are_taken_by_all_workers_together() -> None:
    places = SharedPlaces(workers=2)

    def slots_of(worker: int) -> SharedSlots:
        return SharedSlots(3, 10, backend="b", worker=worker, places=places)

    one, other = slots_of(0), slots_of(1)
    assert [one.take(), one.take(), other.take(), other.take()] == [True, True, True, False]
    assert not one.has_room
    assert other.has_queue_room
    waiting = asyncio.create_task(Waiter([other]).wait(10))
    await asyncio.sleep(0)
    # Freed in one worker, a place goes to who waits in the other.
    one.release()
    assert await waiting is other
    assert places.count("b") == 3
    assert (one.in_flight, other.in_flight) == (1, 2)
    # What a dead worker had is free again.
    places.give_back_all(1)
    assert places.count("b") == 1
    assert [one.take(), one.take(), one.take()] == [True, True, False]
    for _ in range(3):
        one.release()
    assert places.count("b") == 0


async def test_a_limit_holds_across_workers(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    at_once = most = 0

    async def count(_request: web.Request) -> web.StreamResponse:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return await answer_json(COMPLETION)

    upstream.script = count
    async with two_workers(
        tmp_path, upstream, client, backend="max_concurrency = 3\nmax_queued = 100"
    ) as gateway:
        answers = await asyncio.gather(*(gateway.ask() for _ in range(40)))
    assert [status for status, _ in answers] == [200] * 40
    assert most == 3
