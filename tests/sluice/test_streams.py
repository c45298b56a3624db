"""`sluice streams` against a real nats-server."""

import asyncio

import nats
import nats.errors
import pytest

from contracts.settings import PipelineSettings
from contracts.streams import PIPELINE_CONSUMERS
from sluice.servers.nats import GATEWAY_INBOX, EmbeddedNats
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
    assert len(applied) == 3 + 2 * len(PIPELINE_CONSUMERS) + 1


async def test_a_changed_setting_updates_the_consumers(
    nats_url: str, pipeline_settings: PipelineSettings
) -> None:
    changed = pipeline_settings.model_copy(update={"ack_wait_seconds": 7.0})

    applied = await apply_streams(nats_url, changed)

    assert {each.outcome for each in applied if each.kind == "consumer"} == {"updated"}
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


@pytest.mark.parametrize("subject", ["$JS.API.STREAM.NAMES", "$JS.API.STREAM.DELETE.PIPELINE"])
async def test_the_gateways_user_may_not_call_the_broker_api(
    nats_server: EmbeddedNats, subject: str
) -> None:
    connection = await nats.connect(nats_server.url("gateway"), inbox_prefix=GATEWAY_INBOX)

    with pytest.raises(nats.errors.Error):
        await connection.request(subject, timeout=0.5)
    acknowledgement = await connection.jetstream().publish("pipeline.knowledge.test", b"{}")
    await connection.close()

    assert acknowledgement.stream == "PIPELINE"


async def test_the_gateways_user_may_not_subscribe(nats_server: EmbeddedNats) -> None:
    refused: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def note(error: Exception) -> None:
        refused.set_result(error)

    connection = await nats.connect(
        nats_server.url("gateway"), inbox_prefix=GATEWAY_INBOX, error_cb=note
    )
    await connection.subscribe("pipeline.>")
    refusal = await asyncio.wait_for(refused, 5)
    await connection.close()

    assert "permissions violation for subscription" in str(refusal).lower()
