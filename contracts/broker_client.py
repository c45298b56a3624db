"""nats-py's client, held to what `BrokerAccess` asks for."""

import logging
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.errors import Error

from contracts.broker_access import BrokerAccess

_log = logging.getLogger("nats")


class BrokerWithoutTls(Error):
    """The URL asks for TLS and the server speaks none; nothing was sent to it."""


class BrokerClient(Client):
    """A client that proves itself by nkey and never falls back to an open connection.

    nats-py takes `tls://` for a wish: where the server does not offer TLS, it sends the
    password in the clear. And it signs by a package of its own, which is not needed.
    """

    _demands_tls = False

    async def connect_to(self, broker: BrokerAccess, **options: Any) -> None:
        """Connect as `Client.connect` does with the same options.

        Raises:
            BrokerAccessError: a file of the settings cannot be used.
            BrokerWithoutTls, nats.errors.Error, OSError, TimeoutError: as by nats-py, which
                keeps trying where its options say so.
        """
        broker.check()
        self._demands_tls = broker.demands_tls
        nkey = broker.nkey
        if nkey is not None:
            self._public_nkey = nkey.public_key
            options["signature_cb"] = nkey.sign
        await self.connect(broker.url, tls=broker.ssl_context, **options)

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except (Error, OSError, TimeoutError):
            self._abandon_transport()
            raise
        self._mend_tls_protocol()

    def _mend_tls_protocol(self) -> None:
        """Tell asyncio's protocol that it speaks TLS, as nats-py does not.

        It would keep its half of a connection that the server has closed, which TLS cannot, and
        asyncio would warn of that each time.
        """
        transport = self._transport
        if not isinstance(transport, TcpTransport):
            return
        writer = transport._io_writer
        if writer is not None and writer is not transport._bare_io_writer:
            protocol: Any = writer.transport.get_protocol()
            protocol._over_ssl = True

    def _abandon_transport(self) -> None:
        """Close a connection that was refused.

        nats-py would wait for its end, which after a failed handshake never comes: asyncio tells
        it to the protocol that TLS put in the place of the one that waits.
        """
        transport = self._transport
        if isinstance(transport, TcpTransport) and transport._bare_io_writer is not None:
            transport._bare_io_writer.transport.abort()
            transport._io_writer = transport._io_reader = None

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # The first that is heard of the server, before anything is said to it.
        if initial_connection and self._demands_tls and not info.get("tls_required", False):
            server = self._current_server
            address = urlsplit(server.uri.geturl()).netloc.rpartition("@")[2] if server else ""
            raise BrokerWithoutTls(f"nats: the server {address} does not speak TLS")
        await super()._process_info(info, initial_connection)


async def connect_briefly(
    broker: str | BrokerAccess,
    *,
    timeout_seconds: float = 5,
    client: BrokerClient | None = None,
    **options: Any,
) -> BrokerClient:
    """Connect for one piece of work: at once, or an error that says why not.

    Args:
        client: to be connected, where it is not to be a plain one.

    Raises:
        BrokerAccessError: a file of the settings cannot be used.
        nats.errors.Error, OSError, TimeoutError: the server cannot be reached or refuses.
    """
    reasons: list[Exception] = []

    connecting = client or BrokerClient()

    async def note(error: Exception) -> None:
        if connecting.is_connected:
            _log.error("nats: %s", error)
        else:
            reasons.append(error)

    try:
        await connecting.connect_to(
            BrokerAccess.of(broker),
            connect_timeout=timeout_seconds,
            allow_reconnect=False,
            # Without this the client tries for two minutes before it says that nobody is there.
            max_reconnect_attempts=1,
            reconnect_time_wait=0.2,
            **{"error_cb": note, **options},
        )
    except (Error, OSError, TimeoutError) as error:
        await connecting.close()
        # What is raised may say no more than that there are no servers; what was noted says why.
        if reasons and reasons[-1] is not error:
            raise reasons[-1] from error
        raise
    return connecting
