"""The Dagster resource for NATS JetStream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dagster import ConfigurableResource
from pydantic import Field

from contracts.broker_access import BrokerAccess
from contracts.broker_client import connect_briefly
from contracts.settings import load_settings
from resources.jetstream_client import JetStreamClient

INBOX_PREFIX = "_INBOX_dagster"
"""The only subjects that Dagster's NATS user may subscribe to."""


class JetStreamResource(ConfigurableResource):  # type: ignore[type-arg]
    """Short-lived connections to the broker, one per sensor tick or run."""

    url: str | None = Field(
        default=None,
        description="NATS URL. Default: the platform's settings, credentials and TLS included.",
    )
    files: dict[str, str] = Field(
        default={},
        description="With a URL: paths of what `BrokerAccess` has besides, such as `tls_ca`.",
    )
    connect_timeout_seconds: float = Field(default=5.0, gt=0)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[JetStreamClient]:
        """Open a connection for the length of the block.

        Raises:
            BrokerAccessError: a file of the settings cannot be used.
            nats.errors.Error, OSError: the broker cannot be reached or refuses the credentials.
        """
        client = JetStreamClient()
        await connect_briefly(
            BrokerAccess.of_paths(self.url, self.files) if self.url else load_settings().broker,
            name="dagster",
            inbox_prefix=INBOX_PREFIX,
            timeout_seconds=self.connect_timeout_seconds,
            client=client,
        )
        try:
            yield client
        finally:
            await client.close()
