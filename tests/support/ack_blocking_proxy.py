"""A fault between a NATS client and its server: acknowledgements that never arrive."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK_BYTES = 64 * 1024


@dataclass
class AckBlockingProxy:
    """Forwards TCP both ways; while armed, a connection that acknowledges falls silent.

    What a client wrote before its first acknowledgement still arrives, so that the server sees a
    client that died between its work and its acknowledgement.
    """

    server_port: int
    consumer: str
    """Durable name whose acknowledgements are held back."""
    port: int = 0
    is_armed: bool = False
    blocked: threading.Event = field(default_factory=threading.Event)
    """Set at the first acknowledgement that was held back."""

    @property
    def _mark(self) -> bytes:
        # `HPUB` ends in the same letters.
        return f"PUB $JS.ACK.PIPELINE.{self.consumer}.".encode()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(
                "127.0.0.1", self.server_port
            )
        except OSError:
            writer.close()
            return
        tasks = [
            asyncio.create_task(self._forward_to_server(reader, server_writer)),
            asyncio.create_task(_forward(server_reader, writer)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()
            server_writer.close()

    async def _forward_to_server(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        kept = b""
        is_silent = False
        while data := await reader.read(_CHUNK_BYTES):
            if is_silent:
                continue
            data = kept + data
            kept = b""
            if self.is_armed:
                before, mark, _ = data.partition(self._mark)
                if mark:
                    data, is_silent = before, True
                    self.blocked.set()
                else:
                    data, kept = self._split_possible_mark(data)
            writer.write(data)
            await writer.drain()

    def _split_possible_mark(self, data: bytes) -> tuple[bytes, bytes]:
        """Keep back an end that may be the beginning of the mark."""
        for length in range(min(len(self._mark) - 1, len(data)), 0, -1):
            if data.endswith(self._mark[:length]):
                return data[:-length], data[-length:]
        return data, b""


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


@contextmanager
def ack_blocking_proxy(server_port: int, *, consumer: str) -> Iterator[AckBlockingProxy]:
    """Run the proxy on a free port of 127.0.0.1, in a thread of its own; not armed yet."""
    proxy = AckBlockingProxy(server_port, consumer)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="ack-blocking-proxy", daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        return server

    async def stop(server: asyncio.Server) -> None:
        server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.gather(*connections, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
