"""What is too large is refused in the client's envelope: bodies, heads, levels of JSON."""

import asyncio
import json
import time
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.body import MAX_JSON_DEPTH
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"
LIMITS = {"max_body_bytes": 100_000, "max_header_count": 20, "max_header_bytes": 4000}


@pytest.fixture
def gateway(start_gateway: StartGateway, upstream: ScriptedUpstream) -> RunningGateway:
    return start_gateway(backend_of(upstream), gateway=LIMITS)


def nested(depth: int) -> str:
    """A chat request of `depth` levels; its texts hold brackets, which count for nothing."""
    inner = "[" * (depth - 1) + "]" * (depth - 1)
    message = {"role": "user", "content": '[[{{"\\' * 100}
    return json.dumps({**chat_body(messages=[message]), "x": 0})[:-2] + f"{inner}}}"


async def test_levels_of_json(gateway: RunningGateway, client: aiohttp.ClientSession) -> None:
    for depth, status in ((MAX_JSON_DEPTH, 200), (MAX_JSON_DEPTH + 1, 400), (40_000, 400)):
        headers = {"Content-Type": "application/json"}
        async with client.post(gateway.url + CHAT, data=nested(depth), headers=headers) as response:
            assert response.status == status
            answer = await response.json()
    assert answer["error"]["code"] == "json_too_deep"


async def test_a_text_without_an_end_takes_no_time(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream))
    body = b"[" * 200 + b'"' + b'\\"' * 2_000_000 + b"\\"
    started = time.monotonic()
    async with client.post(gateway.url + CHAT, data=body) as response:
        assert response.status == 400
    assert time.monotonic() - started < 5


async def test_header_fields(gateway: RunningGateway, client: aiohttp.ClientSession) -> None:
    for count, status in ((10, 200), (20, 431)):
        headers = {f"X-Field-{number}": "a" for number in range(count)}
        async with client.get(f"{gateway.url}/healthz", headers=headers) as response:
            assert response.status == status
    assert response.headers["Connection"] == "close"
    assert "X-Correlation-ID" in response.headers
    async with client.post(gateway.url + CHAT, json=chat_body(), headers=headers) as response:
        answer = await response.json()
        assert (response.status, answer["error"]["code"]) == (431, "headers_too_large")
        assert "max_header_count" in answer["error"]["message"]


async def test_header_bytes(gateway: RunningGateway, client: aiohttp.ClientSession) -> None:
    for size, status in ((3000, 200), (4000, 431)):
        headers = {"X-Field": "a" * size}
        # The body comes in the same piece and does not count.
        body = chat_body(user="b" * 50_000)
        async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
            assert response.status == status
            answer = await response.json()
    assert "max_header_bytes" in answer["error"]["message"]


@pytest.mark.parametrize(
    "start",
    [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Endless: ",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-",
        b"GET /",
    ],
)
async def test_a_head_without_an_end_is_answered_and_cut(
    gateway: RunningGateway, start: bytes
) -> None:
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(start)
    try:
        for _ in range(1000):
            writer.write(b"a" * 1000)
            await writer.drain()
    except ConnectionError:
        pass
    async with asyncio.timeout(20):
        try:
            answer = await reader.read()
        except ConnectionError:
            # The rest of what was sent met a closed socket.
            answer = b""
    writer.close()
    if answer:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431")
        assert json.loads(body)["error"]["code"] == "headers_too_large"


async def test_many_requests_of_one_connection_count_each_for_itself(
    gateway: RunningGateway,
) -> None:
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for _ in range(5):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Field: " + b"a" * 3000 + b"\r\n\r\n")
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(20):
        answers = await reader.read()
    writer.close()
    assert answers.count(b"HTTP/1.1 200") == 6


async def test_what_is_no_http_gets_the_envelope_too(gateway: RunningGateway) -> None:
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    async with asyncio.timeout(20):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["code"] == "invalid_http"
