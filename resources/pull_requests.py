"""Pull requests to a JetStream consumer, with an exact end.

nats-py's `fetch` waits for each message with a timer of its own, a third of the speed that the
protocol allows, and tells an empty consumer from a slow broker by a timeout. Here the broker
itself says when it has nothing more (ADR-13: `no_wait`, ended by a status message), and what a
message carries is parsed where it is asked for.
"""

import asyncio
import json
from types import TracebackType
from typing import Self

import nats.errors
from nats.aio.subscription import Subscription

from resources.batch_messages import DeliveredMessage
from resources.jetstream_client import JetStreamClient

_STATUS_LINE = b"NATS/1.0 "
_NO_MESSAGES = "404"
_REQUEST_ENDED = "408"
_LIMIT_REACHED = "409"
_EXPIRY_NANOSECONDS = 1_000_000_000
"""A consumer with as many unacknowledged messages as it may have says nothing until then."""
_ANSWER_SECONDS = 15.0


class PullRefused(nats.errors.Error):
    """The broker refused a pull request, such as one to a consumer that is not there."""


class PullRequests:
    """Requests to one consumer, one after another; an async context manager."""

    def __init__(self, client: JetStreamClient, *, stream: str, consumer: str) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._messages: list[DeliveredMessage] = []
        self._wanted = 0
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        self._subscription = await self._client.subscribe_raw(self._inbox, self._take)
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._subscription is not None and not self._client.is_closed:
            await self._client.unsubscribe_raw(self._subscription)

    async def request(self, batch: int) -> list[DeliveredMessage]:
        """Return at most `batch` messages that wait now; fewer mean that no more do.

        Raises:
            PullRefused: the broker refuses.
            nats.errors.TimeoutError: it does not answer to the end.
        """
        await self.send(batch)
        return await self.receive()

    async def send(self, batch: int) -> None:
        """Ask for at most `batch` messages; `receive` waits for them."""
        self._messages, self._wanted = [], batch
        self._end = asyncio.get_running_loop().create_future()
        content = json.dumps({"batch": batch, "no_wait": True, "expires": _EXPIRY_NANOSECONDS})
        await self._client.publish(self._subject, content.encode(), reply=self._inbox)

    async def receive(self) -> list[DeliveredMessage]:
        """Return what `send` asked for. Raises as `request` does."""
        try:
            await asyncio.wait_for(self._end, _ANSWER_SECONDS)
        except TimeoutError as error:
            raise nats.errors.TimeoutError from error
        return self._messages

    def _take(self, subject: bytes, reply: bytes, body: bytes, headers: bytes | None) -> None:
        if reply:
            self._messages.append(DeliveredMessage(subject, reply, body, headers))
            if len(self._messages) >= self._wanted and not self._end.done():
                self._end.set_result(None)
            return
        if self._end.done():
            return
        line = (headers or b"").removeprefix(_STATUS_LINE).partition(b"\r\n")[0].decode()
        status, _, description = line.partition(" ")
        if status in (_NO_MESSAGES, _REQUEST_ENDED) or (
            status == _LIMIT_REACHED and "MaxAckPending" in description
        ):
            self._end.set_result(None)
        else:
            self._end.set_exception(PullRefused(line))
