"""The client that sensors and runs use, for tests of what is below them."""

from typing import Any

from resources.jetstream_client import JetStreamClient


async def connected(url: str, **options: Any) -> JetStreamClient:
    """Return a client that is connected to `url`."""
    client = JetStreamClient()
    await client.connect(url, **options)
    return client
