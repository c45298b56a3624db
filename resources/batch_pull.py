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
        while len(pulled) < limit and time.monotonic() < deadline:
            wanted = min(_FETCH_SIZE, limit - len(pulled))
            try:
                pulled += await subscription.fetch(wanted, timeout=_FETCH_SECONDS)
            except NatsTimeoutError:
                if await _has_given_everything(subscription, pulled):
                    break
    finally:
        await subscription.unsubscribe()
    return pulled


async def _has_given_everything(
    subscription: JetStreamContext.PullSubscription, pulled: list[Msg]
) -> bool:
    """Tell an empty consumer from a broker that is slow.

    What it has delivered and we have not received is on its way: left there, it would only
    come again after the ack wait.
    """
    info = await subscription.consumer_info()
    if info.num_pending:
        return False
    delivered = info.delivered.consumer_seq if info.delivered else 0
    return not pulled or delivered <= pulled[-1].metadata.sequence.consumer
