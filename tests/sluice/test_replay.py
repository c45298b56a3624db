"""`sluice replay`: its bounds, its preview, and the runs it launches."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contracts.subjects import PipelineSubject
from sluice import dagster_api
from sluice.cli import main
from sluice.replay import NoBound, read_bound
from tests.support.events import chat_event, publish_events, tool_call_event

NOW = datetime(2026, 5, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("1200", 1200),
        ("90m", NOW - timedelta(minutes=90)),
        ("2d", NOW - timedelta(days=2)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T12:00+02:00", datetime(2026, 5, 1, 10, tzinfo=UTC)),
    ],
)
def test_bounds(text: str, bound: int | datetime) -> None:
    assert read_bound(text, NOW) == bound


@pytest.mark.parametrize("text", ["0", "-1", "yesterday", "5w", ""])
def test_what_is_no_bound(text: str) -> None:
    with pytest.raises(NoBound, match="neither a stream sequence"):
        read_bound(text, NOW)


@pytest.fixture
def moment(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """20 tool calls, then this moment, then 5 chats."""
    monkeypatch.setenv("SLUICE_NATS_URL", nats_url)
    calls = [tool_call_event(number) for number in range(20)]
    asyncio.run(publish_events(nats_url, PipelineSubject.TOOL_CALL, calls))
    time.sleep(0.01)
    between = datetime.now(UTC).isoformat()
    time.sleep(0.01)
    chats = [chat_event(number) for number in range(5)]
    asyncio.run(publish_events(nats_url, PipelineSubject.CHAT_PERSIST, chats))
    return between


def preview(*arguments: str) -> dict[str, int]:
    result = run(*arguments, "--dry-run")
    counted = (line.split() for line in result.output.splitlines() if " events " in line)
    return {job: int(count) for count, _, job in counted if count != "0"}


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["replay", *arguments])
    assert result.exit_code == 0, result.output
    return result


def test_the_preview_counts_what_lies_between_the_bounds(moment: str) -> None:
    both = {"knowledge_chat_persist": 5, "knowledge_chat_pair_materialize": 5}
    calls = {"knowledge_tool_call": 20}
    assert preview("--from", "1") == both | calls
    assert preview("--from", "1h") == both | calls
    assert preview("--from", moment) == both
    assert preview("--from", "1h", "--to", moment) == calls
    assert preview("--from", "11", "--to", "20") == {"knowledge_tool_call": 10}
    assert preview("--from", "11", "--job", "knowledge_chat_persist") == {
        "knowledge_chat_persist": 5
    }
    assert preview("--from", "26") == preview("--from", "2999-01-01") == {}


def test_the_runs_are_launched_in_parts_and_by_day(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Dagster is asked for; that a job takes such a configuration, the batch tests show."""
    launched: list[tuple[str, Any, Any]] = []

    def note(_url: str, query: str, variables: Any) -> Any:
        params = variables["params"]
        tags = {each["key"]: each["value"] for each in params["executionMetadata"]["tags"]}
        launched.append((params["selector"]["jobName"], params["runConfigData"], tags))
        return {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": "r"}}}

    monkeypatch.setattr(dagster_api, "ask", note)
    monkeypatch.setenv("SLUICE_PIPELINE_BATCH_LIMIT", "8")
    output = run("--from", "5", "--to", "20", "--yes").output
    assert output.count("/runs/r") == 2
    assert [
        (job, config["ops"]["tool_call_record"]["config"]["ranges"]) for job, config, _ in launched
    ] == [
        ("knowledge_tool_call", [{"first": 5, "last": 12, "count": 0}]),
        ("knowledge_tool_call", [{"first": 13, "last": 20, "count": 0}]),
    ]
    assert launched[0][2] == {"sluice/replay": "5-20"}

    launched.clear()
    run("--from", moment, "--job", "knowledge_chat_pair_materialize", "--yes")
    days = [tags["dagster/partition"] for _, _, tags in launched]
    assert datetime.now(UTC).date().isoformat() in days
    assert set(launched[0][1]["ops"]) == {"chat_pair_record", "chat_pair_dataset"}


def test_nothing_is_launched_without_consent(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dagster_api, "ask", lambda *_: pytest.fail("asked"))
    result = CliRunner().invoke(main, ["replay", "--from", "1"], input="n\n")
    assert result.exit_code == 1


def test_an_unknown_job_is_named_with_those_that_there_are(moment: str) -> None:
    result = CliRunner().invoke(main, ["replay", "--from", "1", "--job", "x"])
    assert result.exit_code == 2
    assert "knowledge_tool_call" in result.output
