"""The purge by age, and erasure on request."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from dagster import RunRequest

from contracts.events import encode_event
from contracts.subjects import PipelineSubject
from sluice import dagster_api
from sluice.cli import main
from sluice.servers.nats import EmbeddedNats
from tests.support.dagster_runs import Orchestrator
from tests.support.database import rows
from tests.support.events import chat_event, publish_bodies, publish_events

CHAT_SENSOR = "nats_dagster_chat_persist"


@pytest.fixture
def orchestrator(
    database_url: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Orchestrator:
    monkeypatch.setenv("SLUICE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLUICE_PIPELINE_PULL_SECONDS", "2")
    monkeypatch.setenv("SLUICE_LAKE_ENABLED", "false")
    return Orchestrator(database_url=database_url, nats_url=nats_server.url("dagster"))


def run(orchestrator: Orchestrator, job: str, config: dict[str, Any]) -> dict[str, Any]:
    """Run a job of one asset; return the asset's figures."""
    result = orchestrator.run(RunRequest(job_name=job, run_config={"ops": config}))
    (materialization,) = result.get_asset_materialization_events()
    metadata = materialization.materialization.metadata
    return {name: each.value for name, each in metadata.items()}


def persist_chats(orchestrator: Orchestrator, nats_url: str, keys: dict[int, str | None]) -> None:
    """Persist a chat per number, under the key's name; an erasure is later than these."""
    events = []
    for number, key in keys.items():
        event = chat_event(number)
        event.api_key_name = key
        events.append(event)
    asyncio.run(publish_events(nats_url, PipelineSubject.CHAT_PERSIST, events))
    orchestrator.drain(CHAT_SENSOR)


def correlation_ids(database_url: str, table: Any = "chat_history") -> set[str]:
    return {each["correlation_id"] for each in rows(database_url, "SELECT * FROM " + table)}


def age(database_url: str, correlation_id: str, days: int) -> None:
    with psycopg.connect(database_url) as connection:
        for table in ("chat_history", "chat_pairs"):
            connection.execute(
                f"UPDATE {table} SET occurred_at = now() - %s WHERE correlation_id = %s",
                [timedelta(days=days), correlation_id],
            )


def test_the_purge_deletes_what_is_over_its_age_and_nothing_by_default(
    orchestrator: Orchestrator,
    database_url: str,
    nats_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    persist_chats(orchestrator, nats_url, dict.fromkeys(range(4)))
    age(database_url, "request-0", 40)
    age(database_url, "request-1", 400)
    assert run(orchestrator, "purge_events", {})["deleted"] == 0

    monkeypatch.setattr("assets.retention.purge._PART_ROWS", 1)
    monkeypatch.setenv("SLUICE_RETENTION_EVENT_DAYS", "30")
    figures = run(orchestrator, "purge_events", {})
    assert figures["deleted"] == 4
    assert figures["deleted_by_table"]["chat_history"] == 2
    assert correlation_ids(database_url) == {"request-2", "request-3"}
    assert correlation_ids(database_url, "chat_pairs") == {"request-2", "request-3"}


def test_the_purge_leaves_what_the_lake_has_not(
    orchestrator: Orchestrator,
    database_url: str,
    nats_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    persist_chats(orchestrator, nats_url, {0: None})
    age(database_url, "request-0", 40)
    monkeypatch.setenv("SLUICE_RETENTION_EVENT_DAYS", "30")
    monkeypatch.setenv("SLUICE_LAKE_ENABLED", "true")
    figures = run(orchestrator, "purge_events", {})
    assert figures["deleted"] == 0
    day = (datetime.now(UTC) - timedelta(days=40)).date().isoformat()
    assert day in figures["days_left_for_the_lake"]


def test_settled_dead_letters_are_purged_and_open_ones_stay(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    asyncio.run(publish_bodies(nats_url, PipelineSubject.TOOL_CALL, [b"1", b"2"]))
    orchestrator.drain("nats_dagster_tool_call")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE dead_letters SET recorded_at = now() - interval '100 days'")
        connection.execute("UPDATE dead_letters SET dropped_at = now() WHERE body = '1'")
    assert run(orchestrator, "purge_events", {})["deleted_by_table"] == {"dead_letters": 1}
    assert len(rows(database_url, "SELECT * FROM dead_letters")) == 1


def test_the_purge_finds_its_rows_by_an_index(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN DELETE FROM chat_history WHERE ctid = ANY (ARRAY(SELECT ctid FROM chat_history"
            " WHERE occurred_at < now() - interval '30 days' LIMIT 10000))"
        ).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "ix_chat_history__occurred_at" in text
    assert "Tid Scan" in text


def test_a_forgotten_request_is_gone_and_stays_away(
    orchestrator: Orchestrator, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    persist_chats(orchestrator, nats_url, dict.fromkeys(range(3)))
    (file,) = (tmp_path / "data" / "datasets").rglob("*.jsonl")
    assert "question 1" in file.read_text()

    figures = run(
        orchestrator,
        "forget_subjects",
        {"erased_subjects": {"config": {"correlation_ids": ["request-1"]}}},
    )
    assert (figures["rows_erased"], figures["dataset_days_rewritten"]) == (2, 1)
    kept = {"request-0", "request-2"}
    assert correlation_ids(database_url) == correlation_ids(database_url, "chat_pairs") == kept
    assert "question 1" not in file.read_text()
    assert "question 2" in file.read_text()
    [erasure] = rows(database_url, "SELECT * FROM erasure_requests")
    assert (erasure["subject_kind"], erasure["subject"]) == ("correlation_id", "request-1")
    assert erasure["lake_erased_at"] is None

    # The stream still has the event, and somebody replays it.
    config = {"ranges": [{"first": 1, "last": 3}]}
    request = RunRequest(
        job_name="knowledge_chat_persist", run_config={"ops": {"chat_history": {"config": config}}}
    )
    result = orchestrator.run(request)
    metadata = result.asset_materializations_for_node("chat_history")[0].metadata
    assert metadata["erased_on_request"].value == 1
    assert correlation_ids(database_url) == kept


def test_a_forgotten_callers_events_and_letters_are_gone_and_later_ones_are_kept(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    keys = {0: 'team "a"', 1: "team b", 2: None, 3: 'team "a"'}
    persist_chats(orchestrator, nats_url, keys)
    for key in ('team "a"', "team b"):
        letter = json.loads(encode_event(chat_event(9))) | {"api_key_name": key}
        letter["schema_version"] = 99
        body = json.dumps(letter, separators=(",", ":")).encode()
        asyncio.run(publish_bodies(nats_url, PipelineSubject.CHAT_PERSIST, [body]))
    orchestrator.drain(CHAT_SENSOR)
    assert len(rows(database_url, "SELECT * FROM dead_letters")) == 4
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO api_responses (response_id, api_key_name, model, status, input_items,"
            " response, item_ids, size_bytes, expires_at)"
            " VALUES ('r', 'team \"a\"', 'm', 'completed', '[]', '{}', '{}', 2, now())"
        )

    figures = run(
        orchestrator,
        "forget_subjects",
        {"erased_subjects": {"config": {"api_key_names": ['team "a"']}}},
    )
    assert figures["rows_erased"] == 2 + 2 + 2 + 1
    assert correlation_ids(database_url) == {"request-1", "request-2"}
    letters = rows(database_url, "SELECT body FROM dead_letters")
    assert len(letters) == 2
    assert all(b"team b" in bytes(each["body"]) for each in letters)

    persist_chats(orchestrator, nats_url, {4: 'team "a"'})
    assert "request-4" in correlation_ids(database_url)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command asks of Dagster; that the job takes it, the tests above show."""
    asked: list[Any] = []

    def answer(_url: str, query: str, variables: Any) -> Any:
        if "Launch" in query:
            asked.append(variables["params"])
            return {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": "r"}}}
        figures = {"rows_erased": 5, "dataset_days_rewritten": 1}
        entries = [{"label": name, "intValue": value} for name, value in figures.items()]
        event = {"__typename": "MaterializationEvent", "metadataEntries": entries}
        return {"runOrError": {"status": "SUCCESS"}, "logsForRun": {"events": [event]}}

    monkeypatch.setattr(dagster_api, "ask", answer)
    return asked


def test_the_command(launched: list[Any]) -> None:
    arguments = ["forget", "--correlation-id", "request-1", "--key", "team a"]
    refused = CliRunner().invoke(main, arguments, input="n\n")
    assert (refused.exit_code, launched) == (1, [])
    result = CliRunner().invoke(main, [*arguments, "--yes"])
    assert result.exit_code == 0, result.output
    assert "5 rows erased" in result.output
    [params] = launched
    assert params["selector"]["jobName"] == "forget_subjects"
    assert params["runConfigData"]["ops"]["erased_subjects"]["config"] == {
        "correlation_ids": ["request-1"],
        "api_key_names": ["team a"],
    }
    nobody = CliRunner().invoke(main, ["forget", "--yes"])
    assert nobody.exit_code == 2
