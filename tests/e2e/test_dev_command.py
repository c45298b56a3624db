"""`sluice dev` as a person uses it: start, look around, stop, start again."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats
import psutil
import psycopg
import pytest
import requests
from openai import OpenAI

from contracts.events import SCHEMA_VERSION, encode_event
from contracts.streams import PIPELINE, PIPELINE_CONSUMERS
from contracts.subjects import PipelineSubject
from sensors.declarations import pull_sensors
from tests.e2e.documents import HTML_FACT, MARKDOWN_FACT, PDF_FACT, write_documents
from tests.support.broker import consumer_states, stream_states, unsettled
from tests.support.checkout import copy_checkout
from tests.support.database import count_by_correlation, rows
from tests.support.events import publish_bodies, tool_call_event
from tests.support.graphql import ask_dagster, sensor_states
from tests.support.ports import free_port
from tests.support.stack import (
    PlatformStack,
    running_sluice_dev,
    stack_environment,
    stack_environment_of_defaults,
    wait_until,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

STOP_LIMIT_SECONDS = 15


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout without a settings file, so that everything but the ports is a default."""
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def platform(checkout: Path) -> Iterator[PlatformStack]:
    """The first start in `checkout`. The last test of this file stops it."""
    with running_sluice_dev(
        stack_environment_of_defaults(), log=checkout / "dev.log", working_dir=checkout
    ) as stack:
        yield stack


def test_table_shows_addresses_without_passwords(platform: PlatformStack) -> None:
    table = platform.output.partition("Sluice is running")[2].partition("Try it:")[0]
    for setting in ("GATEWAY", "DAGSTER", "ENCODER", "NATS", "NATS_MONITOR", "POSTGRES"):
        assert f"127.0.0.1:{platform.environment[f'SLUICE_{setting}_PORT']}" in table
    credentials = json.loads((platform.data_dir / "credentials.json").read_text())
    assert credentials
    for password in credentials.values():
        assert password not in platform.output


def test_printed_command_works_in_a_shell(platform: PlatformStack) -> None:
    printed = platform.output.partition("Try it:")[2].partition("Ctrl-C")[0].strip()
    result = subprocess.run(
        ["sh", "-c", printed], capture_output=True, text=True, timeout=60, check=True
    )
    completion = json.loads(result.stdout)
    assert completion["object"] == "chat.completion"
    assert completion["choices"][0]["message"]["content"]


async def test_status_prints_working_addresses(platform: PlatformStack) -> None:
    wait_until(
        lambda: platform.sluice("status").returncode == 0, seconds=60, what="all parts healthy"
    )
    report = platform.status()
    endpoints = report["endpoints"]
    parts = {"gateway", "dagster", "encoder", "nats", "nats_monitor", "postgres"}
    assert set(endpoints) == {*parts, "encoder_grpc"}
    assert set(report["health"]) == {*parts, "dagster_daemon"}
    for part, health in report["health"].items():
        assert health["status"] == "ok", (part, health)
        assert health["latency_ms"] >= 0
        assert health["detail"] is None

    assert requests.get(f"{endpoints['gateway']}/healthz", timeout=10).json() == {"status": "ok"}
    assert requests.get(f"{endpoints['dagster']}/server_info", timeout=10).ok
    assert requests.get(f"{endpoints['nats_monitor']}/jsz", timeout=10).json()["streams"] == 3
    with psycopg.connect(endpoints["postgres"]) as connection:
        version = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        assert version.fetchone()
    client = await nats.connect(endpoints["nats"], allow_reconnect=False)
    assert (await client.jetstream().stream_info(PIPELINE)).config.name == PIPELINE
    await client.close()


def test_status_names_the_part_that_is_down(platform: PlatformStack, tmp_path: Path) -> None:
    elsewhere = stack_environment(tmp_path)
    result = subprocess.run(
        [sys.executable, "-m", "sluice.cli", "status", "--json"],
        env=elsewhere,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    health = json.loads(result.stdout)["health"]
    assert result.returncode == 1
    assert {each["status"] for each in health.values()} == {"down"}
    assert all(each["detail"] for each in health.values())


def test_gateway_may_publish_and_nothing_else(platform: PlatformStack) -> None:
    environment = platform.part("gateway").environ()
    assert "nats://gateway:" in environment["SLUICE_NATS_URL"]


def test_ingested_documents_answer_questions(platform: PlatformStack, tmp_path: Path) -> None:
    folder = write_documents(tmp_path / "handbook")
    result = platform.sluice("ingest", str(folder))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 documents added, 0 replaced, 0 unchanged, 1 unreadable" in result.stdout
    assert re.search(r"left out: \S*sealed\.pdf: .*encrypted", result.stderr, re.IGNORECASE)
    assert f"{platform.endpoints['dagster']}/runs/" in result.stdout

    client = OpenAI(base_url=f"{platform.endpoints['gateway']}/v1", api_key="not needed")
    for question, fact, file in (
        ("At which water level does the spillway gate open?", MARKDOWN_FACT, "spillway.md"),
        ("How many spare Kaplan runners are kept?", HTML_FACT, "turbines.html"),
        ("When are inspection divers on call?", PDF_FACT, "divers.pdf"),
    ):
        completion = client.chat.completions.create(
            model="extractive", messages=[{"role": "user", "content": question}]
        )
        assert fact in (completion.choices[0].message.content or "")
        sources = (completion.model_extra or {})["sources"]
        assert sources[0]["source"] == str(folder / file)

    again = platform.sluice("ingest", str(folder))
    assert "0 documents added, 0 replaced, 3 unchanged, 1 unreadable" in again.stdout


def test_dead_letters_are_replayed_and_dropped_by_command(platform: PlatformStack) -> None:
    """By the running Dagster: sensor, run, command, run again."""
    future = json.loads(encode_event(tool_call_event(1)))
    future["schema_version"] = 99
    bodies = [json.dumps(future).encode(), b"this is not JSON"]
    endpoints = platform.endpoints
    asyncio.run(publish_bodies(endpoints["nats"], PipelineSubject.TOOL_CALL, bodies))

    def open_letters() -> dict[str, int]:
        listed = platform.sluice("dead-letters", "list", "--json")
        assert listed.returncode == 0, listed.stderr
        return {row["reason"]: row["dead_letter_id"] for row in json.loads(listed.stdout)}

    letters = wait_until(
        lambda: found if len(found := open_letters()) == 2 else {},
        seconds=120,
        what="two dead letters",
    )
    ids = [str(letters[reason]) for reason in ("unknown_schema_version", "undecodable")]
    again = platform.sluice("dead-letters", "replay", *ids)
    assert again.returncode == 0, again.stderr
    assert again.stdout == "0 replayed, 0 rows written, 2 refused again, 2 open\n"

    # What an upgrade does to a letter of a newer release: this one can read it now.
    future["schema_version"] = SCHEMA_VERSION
    with psycopg.connect(endpoints["postgres"]) as connection:
        connection.execute(
            "UPDATE dead_letters SET body = %s WHERE dead_letter_id = %s",
            (json.dumps(future).encode(), ids[0]),
        )
    upgraded = platform.sluice("dead-letters", "replay", "--all")
    assert upgraded.stdout == "1 replayed, 1 rows written, 1 refused again, 1 open\n"
    calls = "SELECT event_id::text FROM tool_calls WHERE correlation_id = 'request-1'"
    assert rows(endpoints["postgres"], calls) == [{"event_id": future["event_id"]}]

    dropped = platform.sluice("dead-letters", "drop", ids[1])
    assert dropped.stdout == "1 dropped, 0 open\n"
    assert open_letters() == {}
    unknown = platform.sluice("dead-letters", "drop", "999999")
    assert unknown.returncode == 1
    assert "not there, or not open" in unknown.stderr


def test_ingest_without_a_platform_says_so(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sluice.cli", "ingest", str(write_documents(tmp_path / "docs"))],
        env=stack_environment(tmp_path / "platform"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "is `sluice dev` running?" in result.stderr


def test_dagster_dev_finds_the_running_servers(platform: PlatformStack, checkout: Path) -> None:
    """`dagster dev -w workspace.yaml` as a developer of the code location types it."""
    assert (checkout / ".env").stat().st_mode & 0o077 == 0
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    log = checkout / "dagster-dev.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-p", str(port)],
            env=bare,
            cwd=checkout,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                return requests.get(f"{url}/server_info", timeout=5).ok
            except requests.RequestException:
                return False

        wait_until(answers, seconds=180, what="dagster dev to answer")
        location = ask_dagster(
            url,
            """
            { workspaceOrError { ... on Workspace { locationEntries {
                name loadStatus locationOrLoadError { __typename ... on PythonError { message } }
            } } } }
            """,
        )["workspaceOrError"]["locationEntries"]
        assert [each["name"] for each in location] == ["sluice"]
        assert location[0]["locationOrLoadError"]["__typename"] == "RepositoryLocation", location
        states = sensor_states(url)
        assert set(states.values()) == {"RUNNING"}
        assert {each.name for each in pull_sensors} <= set(states)
        # The same storage: what the platform materialized is known here.
        asset = ask_dagster(
            url,
            """
            { assetOrError(assetKey: {path: ["document_chunks"]}) {
                ... on Asset { assetMaterializations(limit: 1) { runId } }
            } }
            """,
        )["assetOrError"]
        assert asset["assetMaterializations"]
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        process.send_signal(signal.SIGINT)
        psutil.wait_procs(family, timeout=60)
        for left in psutil.wait_procs(family, timeout=1)[1]:
            left.kill()


@pytest.mark.parametrize(
    ("variable", "setting"),
    [("SLUICE_GATEWAY_PORT", "gateway"), ("SLUICE_POSTGRES_PORT", "postgres")],
)
def test_taken_port_is_named_with_its_holder(tmp_path: Path, variable: str, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        result = _dev_that_ends(stack_environment(tmp_path, settings={variable: port}))
    me = psutil.Process()
    assert result.returncode != 0
    assert f"port {port} is taken by {me.name()} (pid {me.pid})" in result.stderr
    assert variable in result.stderr
    assert f"`port` in [{setting}] of sluice.toml" in result.stderr
    assert not (tmp_path / "data" / "postgres").exists()


@pytest.mark.parametrize(
    ("configuration", "key", "allowed"),
    [
        ("[gateway]\nprot = 8080\n", "gateway.prot", "port"),
        ("gatway = 1\n", "gatway", "gateway"),
        (
            '[[backends]]\nname = "a"\nkind = "openai"\nurl = "http://127.0.0.1:1"\nmodel = "m"\n',
            "backends.0.model",
            "models",
        ),
    ],
)
def test_unknown_setting_is_named_with_what_is_allowed(
    tmp_path: Path, configuration: str, key: str, allowed: str
) -> None:
    result = _dev_that_ends(stack_environment(tmp_path, configuration=configuration))
    assert result.returncode != 0
    assert f"{key}: unknown setting" in result.stderr
    assert re.search(rf"known here: .*\b{allowed}\b", result.stderr)
    assert "Traceback" not in result.stderr


def test_wrong_value_is_named_with_what_is_allowed(tmp_path: Path) -> None:
    result = _dev_that_ends(
        stack_environment(tmp_path, configuration="[gateway]\nmax_body_bytes = 5\n")
    )
    assert result.returncode != 0
    assert "gateway.max_body_bytes = 5: " in result.stderr
    assert "1024" in result.stderr


def test_kept_data_is_found_again(platform: PlatformStack, checkout: Path) -> None:
    """Ctrl-C, a second start with the data of the first, then SIGTERM."""
    database = platform.endpoints["postgres"]
    _ask(platform, "before-the-stop")
    wait_until(
        lambda: (
            _knows_call(database, "before-the-stop") and not unsettled(platform.endpoints["nats"])
        ),
        seconds=240,
        interval=2,
        what="all batches settled",
    )
    calls_before = rows(database, "SELECT event_id FROM chat_history ORDER BY event_id")
    chunks_before = rows(database, "SELECT chunk_id FROM document_chunks ORDER BY chunk_id")
    streams_before = _creation_moments(platform)
    assert calls_before

    _assert_stops_without_a_trace(platform, signal.SIGINT)

    environment = {**stack_environment_of_defaults(), **platform.ports}
    with running_sluice_dev(environment, log=checkout / "dev.log", working_dir=checkout) as second:
        assert "making the PostgreSQL data directory" not in second.output
        assert "preparing Dagster's storage" not in second.output
        assert re.search(r"streams and consumers, 0 new or changed", second.output)
        assert _creation_moments(second) == streams_before
        assert second.endpoints == platform.endpoints

        _ask(second, "after-the-second-start")
        wait_until(lambda: _knows_call(database, "after-the-second-start"), seconds=240)
        calls = rows(database, "SELECT event_id FROM chat_history ORDER BY event_id")
        assert calls[:-1] == calls_before
        assert (
            rows(database, "SELECT chunk_id FROM document_chunks ORDER BY chunk_id")
            == chunks_before
        )
        _assert_stops_without_a_trace(second, signal.SIGTERM)


def _dev_that_ends(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sluice.cli", "dev"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _assert_stops_without_a_trace(platform: PlatformStack, number: signal.Signals) -> None:
    servers = ("postgres", "nats", "encoder", "gateway")
    dagster = ("dagster-code", "dagster-web", "dagster-daemon")
    assert len(platform.processes()) >= len(("dev", *servers, *dagster))
    seconds = platform.stop(number)
    assert seconds < STOP_LIMIT_SECONDS
    assert platform.process.returncode == 0, platform.tail()
    assert "everything has stopped" in platform.output
    assert platform.processes() == []
    assert not (platform.data_dir / "running.json").exists()


def _ask(platform: PlatformStack, correlation_id: str) -> None:
    OpenAI(
        base_url=f"{platform.endpoints['gateway']}/v1", api_key="not needed"
    ).chat.completions.create(
        model="extractive",
        messages=[{"role": "user", "content": "At which level does the gate open?"}],
        extra_headers={"X-Correlation-ID": correlation_id},
    )


def _knows_call(database_url: str, correlation_id: str) -> bool:
    return bool(count_by_correlation(database_url, "chat_history", [correlation_id]))


def _creation_moments(platform: PlatformStack) -> dict[str, object]:
    url = platform.endpoints["nats"]
    moments: dict[str, object] = {name: info.created for name, info in stream_states(url).items()}
    consumers = consumer_states(url)
    assert len(consumers) == len(PIPELINE_CONSUMERS)
    return moments | {name: info.created for name, info in consumers.items()}
