"""A NATS client that reads publish acknowledgements without a queue and a task in between."""

from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg

AckHandler = Callable[[int, bytes, bool], None]
"""Called with the number at the reply subject's end, the body, and whether headers came."""


class AcknowledgedClient(Client):
    """nats-py's client, with one inbox whose messages go straight to a handler.

    nats-py puts each message into a queue, from which a task hands it to a coroutine: half of
    what an event costs. `_process_msg` is where its parser delivers; should a later release
    deliver elsewhere, the ordinary callback of the subscription does the same, only slower.
    """

    _ack_sid: int | None = None

    async def open_ack_inbox(self, handler: AckHandler) -> str:
        """Subscribe to a new inbox; return its prefix, to which a number is to be appended."""
        self._handler = handler
        inbox = self.new_inbox()
        subscription = await self.subscribe(f"{inbox}.*", cb=self._on_message)
        self._ack_sid = subscription._id
        return f"{inbox}."

    async def _on_message(self, message: Msg) -> None:
        number = int(message.subject.rpartition(".")[2])
        self._handler(number, message.data, message.headers is not None)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        if sid == self._ack_sid:
            self._handler(int(subject.rpartition(b".")[2]), data, bool(headers))
        else:
            await super()._process_msg(sid, subject, reply, data, headers)
