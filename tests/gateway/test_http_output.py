"""A response's head goes out together with the beginning of its body."""

import asyncio
from typing import cast

from gateway.http_output import HeadJoiningTransport

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class RecordingTransport(asyncio.Transport):
    """Stands for a connection, to see what is written by one call."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


def _joining(transport: RecordingTransport) -> asyncio.Transport:
    return cast("asyncio.Transport", HeadJoiningTransport(transport))


async def test_head_and_body_are_one_write() -> None:
    transport = RecordingTransport()
    joining = _joining(transport)
    joining.write(_HEAD)
    joining.write(b"{}")
    joining.write(_HEAD)
    joining.write(b"[]")
    assert transport.writes == [_HEAD + b"{}", _HEAD + b"[]"]


async def test_a_head_alone_goes_out_at_the_end_of_the_turn() -> None:
    transport = RecordingTransport()
    _joining(transport).write(_HEAD)
    assert transport.writes == []
    await asyncio.sleep(0)
    assert transport.writes == [_HEAD]


async def test_a_head_goes_out_before_the_connection_is_closed() -> None:
    transport = RecordingTransport()
    joining = _joining(transport)
    joining.write(_HEAD)
    joining.close()
    assert transport.writes == [_HEAD]
    assert transport.is_closed


async def test_a_large_body_is_not_copied() -> None:
    transport = RecordingTransport()
    joining = _joining(transport)
    body = b"x" * 200_000
    joining.write(_HEAD)
    joining.write(body)
    assert transport.writes == [_HEAD, body]
