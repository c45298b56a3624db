"""The consumers' lag as the UI shows it: observations, rates, and a check that turns red."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetObservation,
    SensorResult,
    SkipReason,
    build_sensor_context,
)

from contracts.subjects import PipelineSubject
from resources.jetstream import JetStreamResource
from sensors import consumer_lag
from sensors.consumer_lag import consumer_lag_watch
from sluice.servers.nats import EmbeddedNats
from tests.support.dagster_runs import Orchestrator, definitions
from tests.support.events import publish_events, tool_call_event

ASSET = "tool_call_record"


@pytest.fixture
def orchestrator(
    database_url: str, nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> Orchestrator:
    monkeypatch.setenv("SLUICE_PIPELINE_PULL_SECONDS", "2")
    return Orchestrator(database_url=database_url, nats_url=nats_server.url("dagster"))


def tick(nats_server: EmbeddedNats, cursor: str | None = None) -> SensorResult:
    with build_sensor_context(
        cursor=cursor, resources={"jetstream": JetStreamResource(url=nats_server.url("dagster"))}
    ) as context:
        result = consumer_lag_watch(context)
    assert isinstance(result, SensorResult)
    return result


def of_asset(result: SensorResult, asset: str = ASSET) -> tuple[dict[str, Any], bool]:
    """Return the observation's figures, and whether the check passed."""
    events = [
        each for each in result.asset_events or () if each.asset_key.to_user_string() == asset
    ]
    [observation] = [each for each in events if isinstance(each, AssetObservation)]
    [check] = [each for each in events if isinstance(each, AssetCheckEvaluation)]
    return {name: each.value for name, each in observation.metadata.items()}, check.passed


def publish(nats_url: str, count: int) -> None:
    events = [tool_call_event(number) for number in range(count)]
    asyncio.run(publish_events(nats_url, PipelineSubject.TOOL_CALL, events))


def test_what_waits_is_observed_and_turns_the_check_red_after_the_limit(
    orchestrator: Orchestrator,
    nats_server: EmbeddedNats,
    nats_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = tick(nats_server)
    figures, is_passed = of_asset(first)
    assert (figures["events_waiting"], figures["lag_seconds"], is_passed) == (0, 0, True)
    quiet = tick(nats_server, first.cursor)
    assert not quiet.asset_events
    assert isinstance(quiet.skip_reason, SkipReason)

    publish(nats_url, 7)
    monkeypatch.setenv("SLUICE_PIPELINE_LAG_LIMIT_SECONDS", "0.001")
    behind = tick(nats_server, quiet.cursor)
    figures, is_passed = of_asset(behind)
    assert (figures["events_waiting"], figures["events_in_flight"], is_passed) == (7, 0, False)
    assert figures["lag_seconds"] >= 0
    assert abs(figures["oldest_waiting_event_at"] - datetime.now(UTC).timestamp()) < 60
    assert len({each.asset_key for each in behind.asset_events or ()}) == 1

    orchestrator.tick("nats_dagster_tool_call")
    request_in_flight = tick(nats_server)
    figures, _ = of_asset(request_in_flight)
    assert (figures["events_waiting"], figures["events_in_flight"]) == (0, 7)


def test_a_drained_consumer_is_green_again_and_has_its_rates(
    orchestrator: Orchestrator,
    nats_server: EmbeddedNats,
    nats_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(nats_url, 7)
    monkeypatch.setenv("SLUICE_PIPELINE_LAG_LIMIT_SECONDS", "0.001")
    behind = tick(nats_server)
    assert of_asset(behind)[1] is False
    orchestrator.drain("nats_dagster_tool_call")
    figures, is_passed = of_asset(tick(nats_server, behind.cursor))
    assert (figures["events_waiting"], figures["events_in_flight"], is_passed) == (0, 0, True)
    assert figures["settled_per_minute"] > 0
    assert figures["arrived_per_minute"] == 0
    assert "oldest_waiting_event_at" not in figures


def test_a_busy_consumer_is_observed_every_five_minutes(
    nats_server: EmbeddedNats, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tick(nats_server)
    publish(nats_url, 3)
    assert not tick(nats_server, first.cursor).asset_events
    monkeypatch.setattr(consumer_lag, "_REPEAT_SECONDS", 0.0)
    assert of_asset(tick(nats_server, first.cursor))[0]["events_waiting"] == 3


def test_without_a_broker_the_tick_says_so() -> None:
    with build_sensor_context(
        resources={"jetstream": JetStreamResource(url="nats://127.0.0.1:1")}
    ) as context:
        result = consumer_lag_watch(context)
    assert isinstance(result, SkipReason)
    assert "the broker failed" in (result.skip_message or "")


def test_every_record_asset_has_the_check() -> None:
    keys = definitions().resolve_asset_graph().asset_check_keys
    assets = {each.asset_key.to_user_string() for each in keys if each.name == "keeps_up"}
    assert len(assets) == 7
    assert ASSET in assets
