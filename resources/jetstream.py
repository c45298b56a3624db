"""The Dagster resource for NATS JetStream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from dagster import ConfigurableResource
from nats.aio.client import Client
from pydantic import Field

from contracts.settings import load_settings

INBOX_PREFIX = "_INBOX_dagster"
"""The only subjects that Dagster's NATS user may subscribe to."""


class JetStreamResource(ConfigurableResource):  # type: ignore[type-arg]
    """Short-lived connections to the broker, one per sensor tick or run."""

    url: str | None = Field(
        default=None,
        description="NATS URL. Default: the platform's settings, credentials included.",
    )
    connect_timeout_seconds: float = Field(default=5.0, gt=0)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Client]:
        """Open a connection for the length of the block.

        Raises:
            nats.errors.Error, OSError: the broker cannot be reached or refuses the credentials.
        """
        client = await nats.connect(
            self.url or load_settings().nats_url,
            name="dagster",
            inbox_prefix=INBOX_PREFIX,
            connect_timeout=self.connect_timeout_seconds,
            # Who waits for a batch is better told at once than after sixty attempts, which the
            # client makes at its start whatever `allow_reconnect` says.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0.2,
        )
        try:
            yield client
        finally:
            await client.close()
