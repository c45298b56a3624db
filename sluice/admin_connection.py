"""The administrator's connection to the broker, for commands."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.js import JetStreamContext

from sluice.servers.nats import ADMIN_INBOX


@asynccontextmanager
async def jetstream_of_admin(nats_url: str) -> AsyncIterator[JetStreamContext]:
    """Yield JetStream over a connection that is closed at the end of the block.

    Raises:
        nats.errors.Error: the server cannot be reached.
    """
    connection = await nats.connect(
        nats_url,
        inbox_prefix=ADMIN_INBOX,
        connect_timeout=5,
        allow_reconnect=False,
        # Without this the client tries for two minutes before it says that nobody is there.
        max_reconnect_attempts=1,
        reconnect_time_wait=0.2,
    )
    try:
        yield connection.jetstream()
    finally:
        await connection.close()
