"""Pulls what waits on a durable consumer, without acknowledging it."""

import time

from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext

_FETCH_SIZE = 10_000
_FETCH_SECONDS = 0.5


async def pull_messages(
    jetstream: JetStreamContext, *, stream: str, durable: str, limit: int, seconds: float
) -> list[Msg]:
    """Return at most `limit` waiting messages, pulling no longer than `seconds`.

    The messages stay unacknowledged: they come again after the consumer's ack wait unless
    somebody settles them.

    Raises:
        nats.errors.Error: the broker cannot be reached or the consumer is missing.
    """
    subscription = await jetstream.pull_subscribe_bind(durable=durable, stream=stream)
    deadline = time.monotonic() + seconds
    pulled: list[Msg] = []
    try:
        while len(pulled) < limit and time.monotonic() < deadline:
            wanted = min(_FETCH_SIZE, limit - len(pulled))
            try:
                messages = await subscription.fetch(wanted, timeout=_FETCH_SECONDS)
            except NatsTimeoutError:
                break
            pulled += messages
            if len(messages) < wanted:
                break
    finally:
        await subscription.unsubscribe()
    return pulled
