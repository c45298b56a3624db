"""Dead letters after they are recorded: found, replayed, dropped, counted."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from click.testing import CliRunner
from dagster import ExecuteInProcessResult, RunRequest

from contracts.events import encode_event
from contracts.streams import PIPELINE
from contracts.subjects import PipelineSubject
from sluice.cli import main
from sluice.servers.nats import EmbeddedNats
from tests.support.dagster_runs import Orchestrator
from tests.support.database import rows
from tests.support.events import chat_event, publish_bodies, publish_events, tool_call_event

TOOL_SENSOR = "nats_dagster_tool_call"
TOOL_CONSUMER = "knowledge_tool_call"
WATCH = "dead_letters_watch"


@pytest.fixture
def orchestrator(
    database_url: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Orchestrator:
    monkeypatch.setenv("SLUICE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLUICE_PIPELINE_PULL_SECONDS", "2")
    return Orchestrator(database_url=database_url, nats_url=nats_server.url("dagster"))


def handle(orchestrator: Orchestrator, **config: Any) -> tuple[dict[str, Any], bool]:
    """Run the job; return the asset's figures, and whether its check passed."""
    request = RunRequest(
        job_name="handle_dead_letters", run_config={"ops": {"dead_letters": {"config": config}}}
    )
    return figures_of(orchestrator.run(request))


def figures_of(result: ExecuteInProcessResult) -> tuple[dict[str, Any], bool]:
    assert result.success
    (materialization,) = result.asset_materializations_for_node("dead_letters")
    (check,) = result.get_asset_check_evaluations()
    return {name: each.value for name, each in materialization.metadata.items()}, check.passed


def test_a_letter_of_a_future_version_is_replayed_after_the_upgrade(
    orchestrator: Orchestrator,
    database_url: str,
    nats_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    future = json.loads(encode_event(tool_call_event(1)))
    future["schema_version"] = 99
    broken = b"this is not JSON"
    asyncio.run(
        publish_bodies(nats_url, PipelineSubject.TOOL_CALL, [json.dumps(future).encode(), broken])
    )
    orchestrator.drain(TOOL_SENSOR)
    figures, is_passed = handle(orchestrator)
    assert (figures["open"], is_passed) == (2, False)
    assert figures["open_by_reason"] == {"unknown_schema_version": 1, "undecodable": 1}
    ids = [row["dead_letter_id"] for row in rows(database_url, "SELECT * FROM dead_letters")]

    figures, _ = handle(orchestrator, replay=ids)
    assert (figures["replayed"], figures["refused_again"], figures["open"]) == (0, 2, 2)

    with monkeypatch.context() as upgrade:
        upgrade.setattr("contracts.events.SCHEMA_VERSION", 99)
        figures, is_passed = handle(orchestrator, replay=ids)
    assert (figures["replayed"], figures["rows_written"], figures["open"]) == (1, 1, 1)
    assert [row["correlation_id"] for row in rows(database_url, "SELECT * FROM tool_calls")] == [
        "request-1"
    ]
    figures, is_passed = handle(orchestrator, drop=ids)
    assert (figures["dropped"], figures["open"], is_passed) == (1, 0, True)
    figures, _ = handle(orchestrator, replay=ids)
    assert (figures["replayed"], figures["refused_again"]) == (0, 0)


def test_both_consumers_of_a_subject_have_a_letter_of_their_own(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    bad = json.loads(encode_event(chat_event(1)))
    bad["schema_version"] = 99
    asyncio.run(publish_bodies(nats_url, PipelineSubject.CHAT_PERSIST, [json.dumps(bad).encode()]))
    orchestrator.drain("nats_dagster_chat_persist")
    letters = rows(database_url, "SELECT consumer FROM dead_letters ORDER BY consumer")
    assert [each["consumer"] for each in letters] == [
        "knowledge_chat_pair_materialize",
        "knowledge_chat_persist",
    ]


def test_a_message_that_somebody_terminated_is_found(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    """That which a run terminated itself has its letter, and costs no second run."""
    asyncio.run(publish_bodies(nats_url, PipelineSubject.TOOL_CALL, [b"no event"]))
    orchestrator.drain(TOOL_SENSOR)
    (request,) = require_requests(orchestrator.tick(WATCH))
    assert request.run_config["ops"]["dead_letters"]["config"] == {"terminated": []}

    events = [tool_call_event(number) for number in range(2)]
    asyncio.run(publish_events(nats_url, PipelineSubject.TOOL_CALL, events))
    asyncio.run(_terminate_next(nats_url))
    (request,) = require_requests(orchestrator.tick(WATCH))
    figures, is_passed = figures_of(orchestrator.run(request))
    assert (figures["recorded"], figures["open"], is_passed) == (1, 2, False)
    letters = rows(
        database_url, "SELECT stream_sequence, reason, consumer FROM dead_letters ORDER BY 1"
    )
    assert [tuple(each.values()) for each in letters] == [
        (1, "undecodable", TOOL_CONSUMER),
        (2, "terminated", TOOL_CONSUMER),
    ]
    orchestrator.drain(TOOL_SENSOR)
    [row] = rows(database_url, "SELECT correlation_id FROM tool_calls")
    assert row["correlation_id"] == "request-1"


def require_requests(outcome: list[RunRequest] | str) -> list[RunRequest]:
    assert isinstance(outcome, list), outcome
    return outcome


async def _terminate_next(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    subscription = await connection.jetstream().pull_subscribe_bind(
        durable=TOOL_CONSUMER, stream=PIPELINE
    )
    (message,) = await subscription.fetch(1, timeout=5)
    await message.term()
    await connection.flush()
    await connection.close()


@pytest.fixture
def sluice(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the command line against `database_url`; return what it prints."""
    monkeypatch.setenv("SLUICE_POSTGRES_URL", database_url)

    def run(*arguments: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == exit_code, result.output
        return result.output

    return run


def test_the_letters_are_listed_and_shown(
    orchestrator: Orchestrator, nats_url: str, database_url: str, sluice: Callable[..., str]
) -> None:
    body = b"no event \xff"
    asyncio.run(publish_bodies(nats_url, PipelineSubject.TOOL_CALL, [body]))
    orchestrator.drain(TOOL_SENSOR)

    [letter] = json.loads(sluice("dead-letters", "list", "--json"))
    assert (letter["state"], letter["reason"], letter["consumer"]) == (
        "open",
        "undecodable",
        TOOL_CONSUMER,
    )
    letter_id = str(letter["dead_letter_id"])
    assert "undecodable" in sluice("dead-letters", "list")
    shown = json.loads(sluice("dead-letters", "show", letter_id))
    assert (shown["subject"], shown["body"]) == ("pipeline.knowledge.tool_call", "no event \\xff")
    assert sluice("dead-letters", "show", letter_id, "--body") == "no event \ufffd"
    assert "no dead letter 77" in sluice("dead-letters", "show", "77", exit_code=1)
    assert "--all" in sluice("dead-letters", "drop", exit_code=2)

    handle(orchestrator, drop=[int(letter_id)])
    assert json.loads(sluice("dead-letters", "list", "--json")) == []
    [letter] = json.loads(sluice("dead-letters", "list", "--all", "--json"))
    assert letter["state"] == "dropped"
