"""`sluice streams` against a real nats-server."""

import nats

from contracts.settings import PipelineSettings
from contracts.streams import PIPELINE_CONSUMERS
from sluice.streams import apply_streams, count_changes


async def test_applying_again_changes_nothing(
    nats_url: str, pipeline_settings: PipelineSettings
) -> None:
    applied = await apply_streams(nats_url, pipeline_settings)

    assert count_changes(applied) == 0
    assert {each.name for each in applied if each.kind == "stream"} == {
        "PIPELINE",
        "TELEMETRY",
        "ADVISORIES",
    }
    assert len(applied) == 3 + 2 * len(PIPELINE_CONSUMERS) + 2


async def test_a_changed_setting_updates_the_consumers(
    nats_url: str, pipeline_settings: PipelineSettings
) -> None:
    changed = pipeline_settings.model_copy(update={"ack_wait_seconds": 7.0})

    applied = await apply_streams(nats_url, changed)

    unchanged = {each.name for each in applied if each.outcome == "unchanged"}
    assert unchanged == {"PIPELINE", "TELEMETRY", "ADVISORIES", "TELEMETRY/vector"}
    assert count_changes(await apply_streams(nats_url, changed)) == 0


async def test_streams_hold_the_documented_retention(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    jetstream = connection.jetstream()
    pipeline = (await jetstream.stream_info("PIPELINE")).config
    telemetry = (await jetstream.stream_info("TELEMETRY")).config
    await connection.close()

    assert (pipeline.subjects, pipeline.max_age) == (["pipeline.>"], 72 * 3600)
    assert (telemetry.subjects, telemetry.max_age) == (["telemetry.>"], 24 * 3600)
    assert pipeline.storage == telemetry.storage == "file"
