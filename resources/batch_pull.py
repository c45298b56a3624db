"""Pulls what waits on a durable consumer, without acknowledging it."""

import time

from nats.aio.msg import Msg
from nats.js import JetStreamContext

_FETCH_SIZE = 10_000
_FETCH_SECONDS = 0.5


async def pull_messages(
    jetstream: JetStreamContext, *, stream: str, durable: str, limit: int, seconds: float
) -> list[Msg]:
    """Return at most `limit` waiting messages, pulling no longer than about `seconds`.

    The messages stay unacknowledged: they come again after the consumer's ack wait unless
    somebody settles them.

    Raises:
        nats.errors.Error: the broker cannot be reached or the consumer is missing.
    """
    subscription = await jetstream.pull_subscribe_bind(durable=durable, stream=stream)
    deadline = time.monotonic() + seconds
    pulled: list[Msg] = []
    try:
        delivered_before = await _newest_delivery(subscription)
        while len(pulled) < limit and time.monotonic() < deadline:
            wanted = min(_FETCH_SIZE, limit - len(pulled))
            try:
                pulled += await subscription.fetch(wanted, timeout=_FETCH_SECONDS)
            except TimeoutError:
                # nats-py raises its own or Python's, as it comes; its own is one of Python's.
                newest = pulled[-1].metadata.sequence.consumer if pulled else delivered_before
                if await _has_given_everything(subscription, newest):
                    break
    finally:
        await subscription.unsubscribe()
    return pulled


async def _has_given_everything(
    subscription: JetStreamContext.PullSubscription, newest_received: int
) -> bool:
    """Tell an empty consumer from a broker that is slow.

    What it has delivered and we have not received is on its way: left there, it would only
    come again after the ack wait.
    """
    info = await subscription.consumer_info()
    if info.num_pending:
        return False
    return (info.delivered.consumer_seq if info.delivered else 0) <= newest_received


async def _newest_delivery(subscription: JetStreamContext.PullSubscription) -> int:
    info = await subscription.consumer_info()
    return info.delivered.consumer_seq if info.delivered else 0
