"""A NATS client for many small publishes, each acknowledged."""

from collections.abc import Callable, Sequence

from nats.aio.msg import Msg

from contracts.broker_client import BrokerClient

AckHandler = Callable[[int, bytes, bool], None]
"""Called with the number at the reply subject's end, the body, and whether headers came."""


class AcknowledgedClient(BrokerClient):
    """nats-py's client with a short way out and a short way in.

    Its own `publish` checks and encodes the same headers for every message, and it puts each
    message that comes into a queue, from which a task hands it to a coroutine. Together that
    was the larger part of what an event cost the gateway. Here publishes are encoded by the
    caller and written together, and the messages of one inbox go straight to a handler.
    Connecting, authentication, reconnecting and parsing remain nats-py's.
    """

    _ack_sid: int | None = None

    async def open_ack_inbox(self, handler: AckHandler) -> bytes:
        """Subscribe to a new inbox; return its prefix, to which a number is to be appended."""
        self._handler = handler
        inbox = self.new_inbox()
        subscription = await self.subscribe(f"{inbox}.*", cb=self._on_message)
        self._ack_sid = subscription._id
        return f"{inbox}.".encode()

    async def send_publishes(self, commands: Sequence[bytes]) -> None:
        """Write publishes made by `encode_publish`, in their order.

        The connection must be up: what is written while it is down is sent when it is up again.
        """
        await self._send_command(b"".join(commands))
        await self._flush_pending()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        if sid == self._ack_sid:
            self._handler(int(subject.rpartition(b".")[2]), data, bool(headers))
        else:
            await super()._process_msg(sid, subject, reply, data, headers)

    async def _on_message(self, message: Msg) -> None:
        # Not reached as long as nats-py's parser delivers by `_process_msg`.
        number = int(message.subject.rpartition(".")[2])
        self._handler(number, message.data, message.headers is not None)


def encode_publish(subject: str, reply: bytes, headers: bytes, body: bytes) -> bytes:
    """Return the protocol's HPUB command with `headers`, a header block.

    An empty `reply` asks for no acknowledgement.
    """
    return b"HPUB %b %b%b%d %d\r\n%b%b\r\n" % (
        subject.encode("ascii"),
        reply,
        b" " if reply else b"",
        len(headers),
        len(headers) + len(body),
        headers,
        body,
    )
