"""The HTTP client for model servers, against a server that sends bytes by script."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.upstream import origin
from gateway.upstream.errors import ConnectFailed, ConnectionBroken
from gateway.upstream.origin import Target
from gateway.upstream.pool import UpstreamPool
from gateway.upstream.response import UpstreamResponse
from tests.gateway.certificates import write_certificate

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Send = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ByteServer:
    """Answers each request with the next of `answers`; the last one over and over."""

    answers: Sequence[bytes | Send]
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed: int = 0

    scheme: str = "http"

    @property
    def target(self) -> Target:
        return Target(f"{self.scheme}://127.0.0.1:{self.port}/v1/x")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(writer)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed += 1
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    *answers: bytes | Send, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[ByteServer, UpstreamPool]]:
    byte_server = ByteServer(answers, scheme="http" if tls is None else "https")
    server = await asyncio.start_server(byte_server.serve, "127.0.0.1", 0, ssl=tls)
    byte_server.port = server.sockets[0].getsockname()[1]
    pool = UpstreamPool()
    try:
        yield byte_server, pool
    finally:
        pool.close()
        server.close()


async def ask(server: ByteServer, pool: UpstreamPool, body: bytes = b"{}") -> UpstreamResponse:
    head = server.target.head("POST") + b"Content-Length: %d\r\n\r\n" % len(body)
    async with asyncio.timeout(10):
        return await pool.request(server.target, head, body, connect_seconds=5)


async def read(response: UpstreamResponse) -> bytes:
    async with asyncio.timeout(10):
        return await response.read_all()


async def close_after(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
    writer.close()


def closing(data: bytes) -> Send:
    return lambda writer: close_after(writer, data)


def in_pieces(data: bytes, size: int) -> Send:
    async def send(writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)

    return send


async def test_a_connection_is_used_again() -> None:
    async with serving(OK) as (server, pool):
        for _ in range(3):
            response = await ask(server, pool, b'{"n": 1}')
            assert (response.status, await read(response)) == (200, b"hello")
        assert server.connections == 1
        assert server.requests[2].endswith(b'\r\n\r\n{"n": 1}')
        assert server.requests[0].startswith(b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_chunks_come_through_however_they_are_cut(size: int) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nX-Name: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
    )
    async with serving(in_pieces(answer, size)) as (server, pool):
        for _ in range(2):
            response = await ask(server, pool)
            assert response.header(b"x-name") == b"a"
            assert await read(response) == b"abcdefg"
            assert response.header(b"trailer") is None
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
    ],
    ids=["close", "HTTP/1.0", "an answer nobody asked for"],
)
async def test_a_connection_is_not_used_again(answer: bytes) -> None:
    async with serving(answer) as (server, pool):
        for count in (1, 2):
            response = await ask(server, pool)
            assert await read(response) == b"hello"
            assert server.connections == count


async def test_bytes_between_answers_end_the_connection() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")

    async with serving(late) as (server, pool):
        assert await read(await ask(server, pool)) == b"hello"
        await asyncio.sleep(0.2)
        assert await read(await ask(server, pool)) == b"hello"
        assert server.connections == 2


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async with serving(closing(b"HTTP/1.1 200 OK\r\n\r\nall of it")) as (server, pool):
        response = await ask(server, pool)
        assert await read(response) == b"all of it"
        assert response.is_whole


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"SMTP ready\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 200_000,
    ],
    ids=["none", "head", "length", "chunks", "no HTTP", "upgrade", "endless head"],
)
async def test_an_answer_that_breaks_off_is_an_error(answer: bytes) -> None:
    async with serving(closing(answer)) as (server, pool):
        with pytest.raises(ConnectionBroken):
            await read(await ask(server, pool))


async def test_informational_answers_are_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with serving(early + OK) as (server, pool):
        response = await ask(server, pool)
        assert (response.status, response.header(b"link")) == (200, None)
        assert await read(response) == b"hello"


async def test_a_coding_that_nobody_asked_for_is_undone() -> None:
    body = gzip.compress(b"hello" * 1000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving(in_pieces(head + body, 10)) as (server, pool):
        assert await read(await ask(server, pool)) == b"hello" * 1000


async def test_a_server_is_held_up_while_nobody_reads() -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(bytes(100_000))
            sent += 100_000
            await writer.drain()

    async with serving(flood) as (server, pool):
        response = await ask(server, pool)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 50_000_000
        assert len(await read(response)) == 100_000_000


async def test_an_unread_answer_that_is_closed_cuts_the_connection() -> None:
    async def begin(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")

    async with serving(begin) as (server, pool):
        response = await ask(server, pool)
        assert await response.read() == b"hello"
        response.close()
        async with asyncio.timeout(10):
            while not server.closed:
                await asyncio.sleep(0.005)


async def test_a_cancelled_request_cuts_the_connection() -> None:
    async def silence(_writer: asyncio.StreamWriter) -> None:
        """Send nothing."""

    async with serving(silence) as (server, pool):
        task = asyncio.create_task(ask(server, pool))
        while not server.requests:
            await asyncio.sleep(0.005)
        task.cancel()
        async with asyncio.timeout(10):
            while not server.closed:
                await asyncio.sleep(0.005)


async def test_who_closes_meanwhile_is_asked_over_a_new_connection() -> None:
    async with serving(closing(OK)) as (server, pool):
        for count in (1, 2):
            assert await read(await ask(server, pool)) == b"hello"
            await asyncio.sleep(0.1)
            assert server.connections == count


async def test_a_connection_asks_whether_its_server_is_still_there() -> None:
    async with serving(OK) as (server, pool):
        await read(await ask(server, pool))

        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]

    (timer,) = [fields[5] for fields in sockets if fields[2] == f"0100007F:{server.port:04X}"]
    kind, _, due = timer.partition(":")
    # The kernel's name for keepalive; hundredths of a second.
    assert kind == "02"
    assert int(due, 16) <= 10 * 100


async def test_nobody_listens() -> None:
    async with serving(OK) as (server, _):
        port = server.port
    pool = UpstreamPool()
    with pytest.raises(ConnectFailed):
        await pool.request(
            Target(f"http://127.0.0.1:{port}/"), b"GET / HTTP/1.1\r\n\r\n", b"", connect_seconds=5
        )


async def test_tls_by_the_systems_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with serving(OK, tls=context) as (server, pool):
        origin._tls_context.cache_clear()
        with pytest.raises(ConnectFailed, match="certificate verify failed"):
            await ask(server, pool)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        origin._tls_context.cache_clear()
        try:
            for _ in range(2):
                assert await read(await ask(server, pool)) == b"hello"
        finally:
            origin._tls_context.cache_clear()
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("url", "head"),
    [
        ("http://h/a b?q=1", b"GET /a%20b?q=1 HTTP/1.1\r\nHost: h\r\n"),
        ("https://h:443/", b"GET / HTTP/1.1\r\nHost: h\r\n"),
        ("http://[::1]:81/v1", b"GET /v1 HTTP/1.1\r\nHost: [::1]:81\r\n"),
        ("http://münchen/", b"GET / HTTP/1.1\r\nHost: xn--mnchen-3ya\r\n"),
    ],
)
def test_a_request_line(url: str, head: bytes) -> None:
    assert Target(url).head("GET") == head


def test_credentials_of_a_url() -> None:
    assert Target("http://user:p%40ss@h/").credentials == "Basic dXNlcjpwQHNz"
    assert Target("http://h/").credentials is None
    with pytest.raises(ValueError, match="no HTTP URL"):
        Target("ftp://h/")
