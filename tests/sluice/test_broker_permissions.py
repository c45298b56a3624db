"""Who may do what on the broker: each user's work is done, and everything else is refused.

All of it with passwords, and with nkeys over TLS.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client

from contracts.broker_access import BrokerAccess
from contracts.broker_client import connect_briefly
from contracts.nkeys import UserNkey
from contracts.settings import PipelineSettings
from contracts.streams import PIPELINE, PIPELINE_CONSUMERS, TELEMETRY, TELEMETRY_CONSUMER
from sluice.servers.nats import DAGSTER_INBOX, GATEWAY_INBOX, TELEMETRY_INBOX, EmbeddedNats
from tests.support.broker_servers import running_broker

INBOXES = {"gateway": GATEWAY_INBOX, "dagster": DAGSTER_INBOX, "telemetry": TELEMETRY_INBOX}
ANSWER_SECONDS = 10
DURABLE = PIPELINE_CONSUMERS[0].durable_name

OWNING_A_STREAM = [
    f"$JS.API.STREAM.{verb}.{stream}"
    for stream in (PIPELINE, TELEMETRY)
    for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "SNAPSHOT", "MSG.DELETE", "PEER.REMOVE")
]
OWNING_A_CONSUMER = [
    f"$JS.API.CONSUMER.DURABLE.CREATE.{PIPELINE}.{DURABLE}",
    f"$JS.API.CONSUMER.DURABLE.CREATE.{PIPELINE}.another",
    *(f"$JS.API.CONSUMER.DELETE.{PIPELINE}.{each.durable_name}" for each in PIPELINE_CONSUMERS),
    *(f"$JS.API.CONSUMER.CREATE.{PIPELINE}.{each.durable_name}" for each in PIPELINE_CONSUMERS),
    *(
        f"$JS.API.CONSUMER.CREATE.{PIPELINE}.{each.durable_name}.{each.subject}"
        for each in PIPELINE_CONSUMERS
    ),
    f"$JS.API.CONSUMER.CREATE.{TELEMETRY}.another",
    f"$JS.API.CONSUMER.DELETE.{TELEMETRY}.{TELEMETRY_CONSUMER}",
    f"$JS.API.CONSUMER.PAUSE.{PIPELINE}.{DURABLE}",
]
OF_THE_SERVER = ["$SYS.REQ.SERVER.PING", "$JS.API.INFO", "$JS.API.STREAM.NAMES", "any.subject"]
READING_THE_PIPELINE = [
    f"$JS.API.CONSUMER.MSG.NEXT.{PIPELINE}.{DURABLE}",
    f"$JS.API.DIRECT.GET.{PIPELINE}",
    f"$JS.API.STREAM.MSG.GET.{PIPELINE}",
    f"$JS.ACK.{PIPELINE}.{DURABLE}.1.1.1.0.0",
]
READING_TELEMETRY = [
    f"$JS.API.CONSUMER.MSG.NEXT.{TELEMETRY}.{TELEMETRY_CONSUMER}",
    f"$JS.API.DIRECT.GET.{TELEMETRY}",
    f"$JS.ACK.{TELEMETRY}.{TELEMETRY_CONSUMER}.1.1.1.0.0",
]
PUBLISHING = ["pipeline.knowledge.tool_call", "telemetry.knowledge.chat"]

FORBIDDEN_PUBLISHES = {
    "gateway": [
        *OWNING_A_STREAM,
        *OWNING_A_CONSUMER,
        *OF_THE_SERVER,
        *READING_THE_PIPELINE,
        *READING_TELEMETRY,
        f"$JS.API.STREAM.INFO.{PIPELINE}",
        f"{DAGSTER_INBOX}.reply",
    ],
    "dagster": [
        *OWNING_A_STREAM,
        *OWNING_A_CONSUMER,
        *OF_THE_SERVER,
        *READING_TELEMETRY,
        *PUBLISHING,
        f"{GATEWAY_INBOX}.reply",
    ],
    "telemetry": [
        *OWNING_A_STREAM,
        *OWNING_A_CONSUMER,
        *OF_THE_SERVER,
        *READING_THE_PIPELINE,
        *PUBLISHING,
        f"$JS.API.DIRECT.GET.{TELEMETRY}",
        f"{GATEWAY_INBOX}.reply",
    ],
}
FORBIDDEN_SUBSCRIPTIONS = [">", "pipeline.>", "telemetry.>", "$JS.>", "$SYS.>", "any.subject"]


@pytest.fixture(params=["password", "nkey"])
def nats_server(
    request: pytest.FixtureRequest, tmp_path: Path, pipeline_settings: PipelineSettings
) -> Iterator[EmbeddedNats]:
    is_nkey = request.param == "nkey"
    with running_broker(tmp_path, pipeline_settings, tls=is_nkey, nkeys=is_nkey) as server:
        yield server


@asynccontextmanager
async def connected(
    server: EmbeddedNats, user: str
) -> AsyncIterator[tuple[Client, Callable[[], list[str]]]]:
    """Yield a connection of `user`, and what gives the refusals so far."""
    refusals: list[str] = []

    async def note(error: Exception) -> None:
        refusals.append(str(error))

    connection = await connect_briefly(
        server.access(user), inbox_prefix=INBOXES[user], error_cb=note
    )
    try:
        yield connection, lambda: refusals
    finally:
        await connection.close()


async def all_refused(
    connection: Client, refusals: Callable[[], list[str]], kind: str, subjects: list[str]
) -> None:
    """Wait until the broker has refused each of `subjects`, and nothing else."""
    await connection.flush(ANSWER_SECONDS)
    async with asyncio.timeout(ANSWER_SECONDS):
        while len(refusals()) < len(subjects):
            await asyncio.sleep(0.01)
    assert len(refusals()) == len(subjects)
    for subject in subjects:
        said = [each for each in refusals() if f'"{subject.lower()}"' in each.lower()]
        assert said, f"{subject} was not refused: {refusals()}"
        assert f"permissions violation for {kind}" in said[0].lower()


@pytest.mark.parametrize("user", INBOXES)
async def test_every_other_publish_is_refused(nats_server: EmbeddedNats, user: str) -> None:
    subjects = FORBIDDEN_PUBLISHES[user]
    async with connected(nats_server, user) as (connection, refusals):
        for subject in subjects:
            await connection.publish(subject, b"{}")
        await all_refused(connection, refusals, "publish", subjects)


@pytest.mark.parametrize("user", INBOXES)
async def test_every_other_subscription_is_refused(nats_server: EmbeddedNats, user: str) -> None:
    others = [f"{inbox}.>" for name, inbox in INBOXES.items() if name != user]
    subjects = [*FORBIDDEN_SUBSCRIPTIONS, *others, *([] if user == "telemetry" else ["_INBOX.>"])]
    async with connected(nats_server, user) as (connection, refusals):
        for subject in subjects:
            await connection.subscribe(subject)
        await all_refused(connection, refusals, "subscription", subjects)


async def test_the_streams_are_as_they_were_after_all_attempts(nats_server: EmbeddedNats) -> None:
    admin = await connect_briefly(nats_server.access("admin"))
    jetstream = admin.jetstream()
    await jetstream.publish("pipeline.knowledge.tool_call", b"{}")
    before = await jetstream.stream_info(PIPELINE)
    for user in INBOXES:
        async with connected(nats_server, user) as (connection, _):
            for subject in chain(OWNING_A_STREAM, OWNING_A_CONSUMER):
                await connection.publish(subject, b"{}")
            await connection.flush(ANSWER_SECONDS)
    after = await jetstream.stream_info(PIPELINE)
    consumers = {each.name for each in await jetstream.consumers_info(PIPELINE)}
    await admin.close()
    assert (after.config, after.state.messages) == (before.config, 1)
    assert consumers == {each.durable_name for each in PIPELINE_CONSUMERS}


async def test_each_user_can_do_its_work(nats_server: EmbeddedNats) -> None:
    """Dagster's pulls and acknowledgements are what the batch tests do with its user."""
    async with connected(nats_server, "gateway") as (connection, refusals):
        jetstream = connection.jetstream()
        for subject in PUBLISHING:
            await jetstream.publish(subject, b"{}")
        assert refusals() == []
    async with connected(nats_server, "telemetry") as (connection, refusals):
        subscription = await connection.jetstream().pull_subscribe_bind(
            durable=TELEMETRY_CONSUMER, stream=TELEMETRY
        )
        (message,) = await subscription.fetch(1, timeout=ANSWER_SECONDS)
        await message.ack_sync(timeout=ANSWER_SECONDS)
        assert message.subject == "telemetry.knowledge.chat"
        assert refusals() == []


@pytest.mark.parametrize("who", ["nobody", "a wrong password", "a strange nkey"])
async def test_nobody_else_may_connect(nats_server: EmbeddedNats, tmp_path: Path, who: str) -> None:
    user = nats_server.access("gateway")
    seed = None
    if who == "a strange nkey":
        seed = tmp_path / "strange.nk"
        seed.write_text(UserNkey.new().seed)
    password = "gateway:wrong@" if who == "a wrong password" else ""
    scheme = user.url.partition(":")[0]
    stranger = BrokerAccess(
        f"{scheme}://{password}127.0.0.1:{nats_server.port}", user.tls_ca, nkey_seed=seed
    )
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await connect_briefly(stranger)
