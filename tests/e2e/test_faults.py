"""Parts die at the worst moment: nothing that was answered is lost, nothing is there twice."""

import asyncio
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import openai
import psutil
import pytest
import requests

from sluice.dagster_api import follow, launch
from sluice.servers.credentials import load_or_create_credentials
from sluice.servers.nats import EmbeddedNats
from tests.e2e.chat_load import ChatCase, ChatReply, send_all
from tests.support.ack_blocking_proxy import ack_blocking_proxy
from tests.support.broker import consumer_states, unsettled
from tests.support.database import count_by_correlation, rows
from tests.support.graphql import ask_dagster
from tests.support.ports import free_port
from tests.support.processes import running
from tests.support.scripted_model_server import (
    MODEL,
    SLOW_MODEL,
    ScriptedModelServer,
    backend_table,
)
from tests.support.stack import PlatformStack, running_platform, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

SHORT_ACK_WAIT = {"SLUICE_PIPELINE_ACK_WAIT_SECONDS": "10"}
TABLES: Sequence[Any] = ("chat_history", "chat_pairs", "flow_lineage")
_PERSISTED_SECONDS = 400
_RESTART_SECONDS = 60


@pytest.fixture(scope="module")
def platform(
    tmp_path_factory: pytest.TempPathFactory, model_server: ScriptedModelServer
) -> Iterator[PlatformStack]:
    """A platform whose parts may be killed: the supervisor starts them again."""
    with running_platform(
        tmp_path_factory.mktemp("faults"),
        settings=SHORT_ACK_WAIT,
        configuration=backend_table(model_server),
    ) as stack:
        yield stack


def test_run_killed_between_commit_and_acknowledgement(
    tmp_path: Path, model_server: ScriptedModelServer
) -> None:
    """The run, the code server and the daemon go at once; the batch comes again, harmlessly."""
    consumer = "knowledge_chat_persist"
    nats = EmbeddedNats(
        data_dir=tmp_path / "nats",
        port=free_port(),
        monitor_port=free_port(),
        credentials=load_or_create_credentials(tmp_path / "credentials.json"),
    )
    nats.write_configuration()
    with (
        running(nats.process(), log=tmp_path / "nats.log"),
        ack_blocking_proxy(nats.port, consumer=consumer) as proxy,
        running_platform(
            tmp_path / "platform",
            settings={
                **SHORT_ACK_WAIT,
                "SLUICE_NATS_URL": nats.url("admin").replace(str(nats.port), str(proxy.port)),
            },
            configuration=backend_table(model_server),
        ) as platform,
    ):
        endpoints = platform.endpoints
        broker = nats.url("admin")
        proxy.is_armed = True
        cases = _cases("killed-run", 20)
        _assert_answered(asyncio.run(send_all(endpoints["gateway"], cases)), cases)

        wait_until(
            lambda: _rows_of(endpoints["postgres"], "chat_history", cases),
            seconds=_PERSISTED_SECONDS,
            interval=0.1,
            what="the first batch to be committed",
        )
        assert proxy.blocked.wait(10)
        _kill(_runs_of(platform), platform.part("dagster-code"), platform.part("dagster-daemon"))
        committed = _rows_of(endpoints["postgres"], "chat_history", cases)
        assert consumer_states(broker)[consumer].num_ack_pending == len(committed)
        [killed_run] = _runs(endpoints["dagster"], consumer)
        assert killed_run["status"] == "STARTED"

        proxy.is_armed = False
        _wait_until_persisted(platform, cases, broker=broker)

        runs = {run["runId"]: run for run in _runs(endpoints["dagster"], consumer)}
        assert runs[killed_run["runId"]]["status"] == "FAILURE"
        assert any(run["status"] == "SUCCESS" for run in runs.values())
        delivered = [
            int(tag["value"])
            for run in runs.values()
            for tag in run["tags"]
            if tag["key"] == "sluice/delivery"
        ]
        assert max(delivered) >= 2
        assert _duplicates_skipped(endpoints["dagster"]) == len(committed)


async def test_gateway_killed_in_the_middle_of_streams(platform: PlatformStack) -> None:
    gateway = platform.endpoints["gateway"]
    before = _cases("before-gateway-kill", 30)
    _assert_answered(await send_all(gateway, before), before)
    cut = _cases("cut-stream", 4, model=SLOW_MODEL, is_streaming=True)
    streams = asyncio.create_task(send_all(gateway, cut))
    await asyncio.sleep(1.0)
    await asyncio.to_thread(_kill, [platform.part("gateway")])
    for outcome in (await streams).values():
        assert isinstance(outcome, openai.OpenAIError | httpx2.HTTPError), outcome

    await asyncio.to_thread(wait_until, lambda: _is_healthy(gateway), seconds=_RESTART_SECONDS)
    after = _cases("after-gateway-kill", 10)
    _assert_answered(await send_all(gateway, after), after)
    await asyncio.to_thread(_wait_until_persisted, platform, [*before, *after])
    for table in TABLES:
        assert set(_rows_of(platform.endpoints["postgres"], table, cut).values()) <= {1}


async def test_broker_killed_under_load(platform: PlatformStack) -> None:
    await _load_while(platform, "broker-killed", "nats", lambda process: process.kill())


async def test_database_stopped_under_load(platform: PlatformStack) -> None:
    await _load_while(
        platform,
        "database-stopped",
        "postgres",
        lambda process: process.send_signal(signal.SIGINT),
    )


def test_template_of_the_runs_killed(platform: PlatformStack) -> None:
    """Runs are forks of one process; where it is gone, the next run brings it back."""
    dagster = platform.endpoints["dagster"]
    follow(dagster, launch(dagster, "purge_events", {}))
    template = _template(platform)
    wait_until(lambda: template.cpu_times().children_user > 0, seconds=30, what="the run's end")
    template.kill()

    follow(dagster, launch(dagster, "purge_events", {}))

    assert _template(platform).pid != template.pid


def _template(platform: PlatformStack) -> psutil.Process:
    [template] = (
        process
        for process in platform.part("dagster-code").children()
        if "multiprocessing.forkserver" in " ".join(process.cmdline())
    )
    return template


async def _load_while(
    platform: PlatformStack, name: str, part: str, end: Callable[[psutil.Process], None]
) -> None:
    """End `part` in the middle of a load; every call is answered and persisted exactly once."""
    cases = [
        *_cases(f"{name}-slow", 40, model=SLOW_MODEL, is_streaming=True),
        *_cases(f"{name}-quick", 160),
    ]
    cases.sort(key=lambda case: case.correlation_id[-1])
    process = platform.part(part)
    load = asyncio.create_task(send_all(platform.endpoints["gateway"], cases, in_flight=12))
    await asyncio.sleep(2.0)
    assert not load.done()
    end(process)
    replies = await load
    _assert_answered(replies, cases)

    def is_restarted() -> bool:
        try:
            return platform.part(part).pid != process.pid
        except LookupError:
            return False

    await asyncio.to_thread(wait_until, is_restarted, seconds=_RESTART_SECONDS)
    await asyncio.to_thread(_wait_until_persisted, platform, cases)
    assert _events_waiting(platform.endpoints["gateway"]) == 0


def _cases(
    name: str, count: int, *, model: str = MODEL, is_streaming: bool | None = None
) -> list[ChatCase]:
    mark = uuid4().hex[:8]
    return [
        ChatCase(
            correlation_id=f"{name}-{mark}-{number}",
            messages=[{"role": "user", "content": f"{name} {mark}: what is number {number}?"}],
            is_streaming=bool(number % 2) if is_streaming is None else is_streaming,
            model=model,
        )
        for number in range(count)
    ]


def _assert_answered(replies: dict[str, ChatReply | Exception], cases: Iterable[ChatCase]) -> None:
    for case in cases:
        reply = replies[case.correlation_id]
        assert isinstance(reply, ChatReply), (case.correlation_id, reply)
        assert reply.text == case.expected_text


def _rows_of(database_url: str, table: Any, cases: Sequence[ChatCase]) -> dict[str, int]:
    return count_by_correlation(database_url, table, [case.correlation_id for case in cases])


def _wait_until_persisted(
    platform: PlatformStack, cases: Sequence[ChatCase], *, broker: str | None = None
) -> None:
    """Wait until every consumer is at its end, then check that each call is there once."""
    database, broker = platform.endpoints["postgres"], broker or platform.endpoints["nats"]

    def is_persisted() -> bool:
        is_there = all(len(_rows_of(database, table, cases)) == len(cases) for table in TABLES)
        return is_there and not unsettled(broker)

    try:
        wait_until(is_persisted, seconds=_PERSISTED_SECONDS, interval=2)
    except AssertionError as error:
        counts = {table: len(_rows_of(database, table, cases)) for table in TABLES}
        raise AssertionError(
            f"{len(cases)} calls, rows {counts}, unsettled {unsettled(broker)}\n{platform.tail(80)}"
        ) from error
    for table in TABLES:
        expected = {case.correlation_id: 1 for case in cases}
        assert _rows_of(database, table, cases) == expected, table
    assert rows(database, "SELECT * FROM dead_letters") == []


def _kill(processes: Iterable[psutil.Process], *others: psutil.Process) -> None:
    victims = [*processes, *others]
    for process in victims:
        process.kill()
    psutil.wait_procs(victims, timeout=10)


def _runs_of(platform: PlatformStack) -> list[psutil.Process]:
    """The processes of the runs in progress, which the code server has started."""
    return platform.part("dagster-code").children(recursive=True)


def _runs(dagster: str, consumer: str) -> list[dict[str, Any]]:
    answer = ask_dagster(
        dagster,
        """
        query Runs($filter: RunsFilter!) {
          runsOrError(filter: $filter) {
            ... on Runs { results { runId status tags { key value } } }
          }
        }
        """,
        filter={"tags": [{"key": "sluice/consumer", "value": consumer}]},
    )
    results: list[dict[str, Any]] = answer["runsOrError"]["results"]
    return results


def _duplicates_skipped(dagster: str) -> int:
    answer = ask_dagster(
        dagster,
        """
        { assetOrError(assetKey: {path: ["chat_history"]}) { ... on Asset {
            assetMaterializations(limit: 50) {
              metadataEntries { label ... on IntMetadataEntry { intValue } }
            }
        } } }
        """,
    )
    return sum(
        entry["intValue"]
        for each in answer["assetOrError"]["assetMaterializations"]
        for entry in each["metadataEntries"]
        if entry["label"] == "duplicates_skipped"
    )


def _events_waiting(gateway: str) -> int:
    health = requests.get(f"{gateway}/healthz?verbose", timeout=10).json()
    waiting: int = health["broker"]["events_waiting"]
    return waiting


def _is_healthy(gateway: str) -> bool:
    try:
        return requests.get(f"{gateway}/healthz", timeout=5).ok
    except requests.RequestException:
        return False
