"""nats-py's client with a short way for what a pull request brings.

nats-py parses each message's headers and delivery, wraps it and queues it for a task of the
subscription: more work than everything else that is done to an event before COPY takes it.
"""

from collections.abc import Callable
from typing import Any

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from contracts.broker_client import BrokerClient

Take = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Called with subject, reply subject, body and header block, as they came."""


class JetStreamClient(BrokerClient):
    """A client of which single subscriptions take their messages as they came."""

    def __init__(self) -> None:
        super().__init__()
        self._takers: dict[int, Take] = {}

    async def subscribe_raw(self, subject: str, take: Take) -> Subscription:
        """Subscribe to `subject`; its messages go to `take`, from within the reading loop."""
        subscription = await self.subscribe(subject, cb=_never)
        self._takers[subscription._id] = take
        return subscription

    async def unsubscribe_raw(self, subscription: Subscription) -> None:
        """End a subscription of `subscribe_raw`."""
        self._takers.pop(subscription._id, None)
        await subscription.unsubscribe()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any
    ) -> None:
        take = self._takers.get(sid)
        if take is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            take(subject, reply, data, headers)


async def _never(message: Msg) -> None:
    raise AssertionError(f"a message on {message.subject} went past its taker")
