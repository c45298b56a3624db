"""Pulls what waits on a durable consumer, without acknowledging it."""

import time

from resources.batch_messages import DeliveredMessage
from resources.jetstream_client import JetStreamClient
from resources.pull_requests import PullRequests

_REQUEST_SIZE = 5_000


async def pull_messages(
    client: JetStreamClient, *, stream: str, durable: str, limit: int, seconds: float
) -> list[DeliveredMessage]:
    """Return at most `limit` waiting messages, pulling no longer than about `seconds`.

    The messages stay unacknowledged: they come again after the consumer's ack wait unless
    somebody settles them.

    Raises:
        nats.errors.Error: the broker cannot be reached or the consumer is missing.
    """
    deadline = time.monotonic() + seconds
    pulled: list[DeliveredMessage] = []
    async with PullRequests(client, stream=stream, consumer=durable) as requests:
        while len(pulled) < limit and time.monotonic() < deadline:
            wanted = min(_REQUEST_SIZE, limit - len(pulled))
            messages = await requests.request(wanted)
            pulled += messages
            if len(messages) < wanted:
                break
    return pulled
