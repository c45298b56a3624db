"""The main job, end to end: a chat call is answered, and seconds later it is data."""

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from sensors.declarations import pull_sensors
from tests.e2e.chat_load import ChatCase, ChatReply
from tests.e2e.main_job import CALL_COUNT, REPEATED_COUNT, MainJob
from tests.support.broker import unsettled
from tests.support.database import count_by_correlation, rows
from tests.support.graphql import ask_dagster, sensor_states
from tests.support.scripted_model_server import ScriptedModelServer
from tests.support.stack import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

RECORD_ASSETS = {
    "chat_history": "chat_history",
    "chat_pair_record": "chat_pairs",
    "flow_lineage_record": "flow_lineage",
    "tool_call_record": "tool_calls",
    "retrieve_record": "retrieve_events",
    "compose_record": "compose_events",
    "embedding_record": "embedding_events",
}

_MATERIALIZATIONS = """
query Materializations($path: [String!]!) {
  assetOrError(assetKey: {path: $path}) {
    ... on Asset {
      assetMaterializations(limit: 200) {
        partition
        metadataEntries {
          label
          ... on IntMetadataEntry { intValue }
          ... on TextMetadataEntry { text }
          ... on FloatMetadataEntry { floatValue }
          ... on TableMetadataEntry { table { records schema { columns { name } } } }
        }
      }
    }
  }
}
"""


@pytest.fixture(scope="module")
def main_job(main_job: MainJob) -> MainJob:
    """The job with the pipeline at rest: other tests may have used the platform since."""
    endpoints = main_job.platform.endpoints

    def is_at_rest() -> bool:
        return not unsettled(endpoints["nats"]) and not _runs_in_progress(endpoints["dagster"])

    wait_until(is_at_rest, seconds=300, interval=2, what="the pipeline to come to rest")
    return main_job


def test_every_call_is_answered_as_the_model_said(main_job: MainJob) -> None:
    for correlation_id, case in main_job.cases.items():
        reply = main_job.replies[correlation_id]
        assert isinstance(reply, ChatReply), (correlation_id, reply)
        assert reply.text == case.expected_text
        assert reply.calls == [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in case.expected_calls
        ]
        # The gateway always asks the model for usage, and tells those who asked.
        is_told = not case.is_streaming or case.asks_for_usage
        assert reply.usage == (case.expected_usage if is_told else None)


@pytest.mark.parametrize("table", ["chat_history", "chat_pairs", "flow_lineage"])
def test_every_call_is_one_row(main_job: MainJob, table: Any) -> None:
    counts = count_by_correlation(
        main_job.platform.endpoints["postgres"], table, main_job.correlation_ids
    )
    assert counts == dict.fromkeys(main_job.correlation_ids, 1)
    assert len(counts) == CALL_COUNT


def test_every_tool_call_is_one_row(main_job: MainJob) -> None:
    found = rows(
        main_job.platform.endpoints["postgres"],
        "SELECT correlation_id, tool_call_id, function_name, arguments, model, backend"
        " FROM tool_calls WHERE correlation_id = ANY(%s) ORDER BY correlation_id, position",
        main_job.correlation_ids,
    )
    expected = [
        {
            "correlation_id": correlation_id,
            "tool_call_id": call["id"],
            "function_name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
            "model": case.model,
            "backend": "scripted",
        }
        for correlation_id, case in sorted(main_job.cases.items())
        for call in case.expected_calls
    ]
    assert len(expected) == main_job.tool_call_count == 60
    assert found == expected


def test_rows_hold_what_was_said(main_job: MainJob) -> None:
    found = rows(
        main_job.platform.endpoints["postgres"],
        "SELECT * FROM chat_history WHERE correlation_id = ANY(%s)",
        main_job.correlation_ids,
    )
    assert len(found) == CALL_COUNT
    for row in found:
        case = main_job.cases[row["correlation_id"]]
        assert row["messages"] == list(case.messages)
        assert row["tools"] == list(case.tools)
        assert row["status"] == "completed"
        assert row["error"] is None
        assert row["dialect"] == "openai.chat"
        assert (row["model"], row["backend"]) == (case.model, "scripted")
        assert row["is_streaming"] == case.is_streaming
        assert row["finish_reason"] == ("tool_calls" if case.tools else "stop")
        assert not row["is_usage_estimate"]
        assert {name: row[name] for name in case.expected_usage} == case.expected_usage
        assert (row["first_token_seconds"] is not None) == case.is_streaming
        assert row["duration_seconds"] > 0
        _assert_answer(row["answer"], case)


def test_pairs_hold_what_was_said(main_job: MainJob) -> None:
    found = rows(
        main_job.platform.endpoints["postgres"],
        "SELECT * FROM chat_pairs WHERE correlation_id = ANY(%s)",
        main_job.correlation_ids,
    )
    assert len(found) == CALL_COUNT
    for row in found:
        case = main_job.cases[row["correlation_id"]]
        assert row["is_complete"]
        assert row["messages"][:-1] == list(case.messages)
        _assert_answer(row["messages"][-1], case)
        assert row["prompt"] == case.question
        if not case.tools:
            assert row["response"] == case.expected_text
    assert len({row["content_sha256"] for row in found}) == CALL_COUNT - REPEATED_COUNT


def test_lineage_joins_to_the_other_events(main_job: MainJob) -> None:
    database = main_job.platform.endpoints["postgres"]
    joined = rows(
        database,
        "SELECT flow.correlation_id, flow.stages, chat.event_id::text = ANY(flow.event_ids)"
        " AS has_chat FROM flow_lineage AS flow JOIN chat_history AS chat USING (correlation_id)"
        " WHERE correlation_id = ANY(%s)",
        main_job.correlation_ids,
    )
    assert len(joined) == CALL_COUNT
    for row in joined:
        assert row["has_chat"]
        assert "retrieve" in [stage["name"] for stage in row["stages"]]
        assert row["stages"][-1]["name"] == "backend"
    calls = rows(
        database,
        "SELECT count(*) AS count FROM tool_calls JOIN flow_lineage AS flow USING (correlation_id)"
        " WHERE correlation_id = ANY(%s) AND tool_calls.event_id::text = ANY(flow.event_ids)",
        main_job.correlation_ids,
    )
    assert calls == [{"count": main_job.tool_call_count}]


def test_questions_about_documents_are_grounded(
    main_job: MainJob, model_server: ScriptedModelServer
) -> None:
    about_documents = {
        correlation_id
        for correlation_id, case in main_job.cases.items()
        if "spillway" in case.question
    }
    composed = count_by_correlation(
        main_job.platform.endpoints["postgres"], "compose_events", main_job.correlation_ids
    )
    # Others may match by chance, such as a number that stands in a document.
    assert about_documents <= set(composed)
    assert set(composed.values()) == {1}
    assert model_server.grounded_count >= len(composed)


def test_nothing_is_left_over(main_job: MainJob) -> None:
    endpoints = main_job.platform.endpoints
    assert rows(endpoints["postgres"], "SELECT * FROM dead_letters") == []
    assert unsettled(endpoints["nats"]) == {}


def test_sensors_run_and_have_ticked(main_job: MainJob) -> None:
    dagster = main_job.platform.endpoints["dagster"]
    states = sensor_states(dagster)
    assert set(states.values()) == {"RUNNING"}
    assert {each.name for each in pull_sensors} <= set(states)
    assert len(pull_sensors) == 6
    for each in pull_sensors:
        ticks = ask_dagster(
            dagster,
            """
            query Ticks($sensor: SensorSelector!) {
              sensorOrError(sensorSelector: $sensor) {
                ... on Sensor { sensorState { ticks(limit: 200) { status error { message } } } }
              }
            }
            """,
            sensor={
                "repositoryLocationName": "sluice",
                "repositoryName": "__repository__",
                "sensorName": each.name,
            },
        )["sensorOrError"]["sensorState"]["ticks"]
        statuses = {tick["status"] for tick in ticks}
        assert "SUCCESS" in statuses, (each.name, ticks[:3])
        assert "FAILURE" not in statuses, (each.name, ticks[:3])


@pytest.mark.parametrize(("asset", "table"), RECORD_ASSETS.items())
def test_materializations_account_for_every_row(main_job: MainJob, asset: str, table: Any) -> None:
    endpoints = main_job.platform.endpoints
    found = _materializations(endpoints["dagster"], asset)
    assert found
    for entries in found:
        assert entries["dead_letters"]["intValue"] == 0
        assert entries["duplicates_skipped"]["intValue"] == 0
        first, _, last = entries["sequence_ranges"]["text"].split(", ")[0].partition("-")
        assert 1 <= int(first) <= int(last)
        assert entries["lag_seconds"]["floatValue"] > 0
        assert entries["preview"]["table"]["records"]
    written = sum(entries["rows_written"]["intValue"] for entries in found)
    [counted] = rows(endpoints["postgres"], "SELECT count(*) AS count FROM " + table)
    assert written == counted["count"]
    # Batches: a run for every event would be hundreds.
    assert len(found) < 60


def test_asset_checks_passed(main_job: MainJob) -> None:
    answer = ask_dagster(
        main_job.platform.endpoints["dagster"],
        """
        { assetNodes { assetKey { path } assetChecksOrError {
            ... on AssetChecks { checks { name executionForLatestMaterialization { status } } }
        } } }
        """,
    )
    statuses = {
        (node["assetKey"]["path"][0], check["name"]): (
            check["executionForLatestMaterialization"] or {}
        ).get("status")
        for node in answer["assetNodes"]
        for check in node["assetChecksOrError"].get("checks", ())
    }
    for asset in RECORD_ASSETS:
        assert statuses[asset, "no_dead_letters"] == "SUCCEEDED"
        assert statuses[asset, "nothing_missing"] == "SUCCEEDED"
    assert statuses["chat_pair_dataset", "no_equal_pairs"] == "SUCCEEDED"


def test_dataset_files_hold_each_conversation_once(main_job: MainJob) -> None:
    folder = main_job.platform.data_dir / "datasets" / "chat_pairs"
    questions = {case.question: case for case in main_job.cases.values()}
    assert len(questions) == CALL_COUNT - REPEATED_COUNT

    lines = [
        json.loads(line)
        for file in folder.glob("day=*/hour=*/minute=*.jsonl")
        for line in file.read_text().splitlines()
    ]
    ours = [each for each in lines if each["messages"][-2]["content"] in questions]
    assert len(ours) == len(questions)
    assert {each["messages"][-2]["content"] for each in ours} == set(questions)
    for each in ours:
        case = questions[each["messages"][-2]["content"]]
        assert each["messages"][:-1] == list(case.messages)
        assert each.get("tools", []) == list(case.tools)
        _assert_answer(each["messages"][-1], case)

    tables = [pq.read_table(file) for file in folder.glob("day=*/hour=*/minute=*.parquet")]
    pairs = [row for table in tables for row in table.to_pylist()]
    assert len(pairs) == len(lines)
    by_correlation = {row["correlation_id"]: row for row in pairs}
    ours_in_parquet = {key for key in by_correlation if key in main_job.cases}
    assert len(ours_in_parquet) == len(questions)
    for correlation_id in ours_in_parquet:
        case = main_job.cases[correlation_id]
        row = by_correlation[correlation_id]
        assert [message["content"] for message in row["messages"][:-1]] == [
            message["content"] for message in case.messages
        ]
        assert json.loads(row["tools"]) == list(case.tools)


def _assert_answer(answer: dict[str, Any], case: ChatCase) -> None:
    assert answer["role"] == "assistant"
    assert (answer.get("content") or None) == case.expected_text
    assert answer.get("tool_calls", []) == case.expected_calls


def _runs_in_progress(dagster: str) -> list[str]:
    answer = ask_dagster(
        dagster,
        """
        { runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED]}) {
            ... on Runs { results { runId } }
        } }
        """,
    )
    return [run["runId"] for run in answer["runsOrError"]["results"]]


def _materializations(dagster: str, asset: str) -> list[dict[str, Any]]:
    answer = ask_dagster(dagster, _MATERIALIZATIONS, path=[asset])
    return [
        {entry["label"]: entry for entry in each["metadataEntries"]}
        for each in answer["assetOrError"]["assetMaterializations"]
    ]
