"""The administrator's connection to the broker, for commands."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.js import JetStreamContext

from contracts.broker_access import BrokerAccess
from contracts.broker_client import connect_briefly
from sluice.servers.nats import ADMIN_INBOX


@asynccontextmanager
async def jetstream_of_admin(broker: str | BrokerAccess) -> AsyncIterator[JetStreamContext]:
    """Yield JetStream over a connection that is closed at the end of the block.

    Raises:
        BrokerAccessError: a file of the settings cannot be used.
        nats.errors.Error, OSError, TimeoutError: the server cannot be reached or refuses.
    """
    connection = await connect_briefly(broker, inbox_prefix=ADMIN_INBOX)
    try:
        yield connection.jetstream()
    finally:
        await connection.close()
