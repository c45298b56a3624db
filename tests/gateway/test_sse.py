"""Cutting a byte stream into server-sent events."""

import pytest

from gateway.openai.sse import EventTooLong, SseEvent, SseSplitter


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"data: a\r\n\r\n", b"a"),
        (b"data: a\r\rx", b"a"),
        (b"data: a\n\r\n", b"a"),
        (b"data: a\ndata:  b\n\n", b"a\n b"),
        (b"event: x\nid: 1\ndata: a\n\n", b"a"),
        (b"data\n\n", b""),
        (b": comment\n\n", None),
        (b"event: ping\n\n", None),
    ],
)
def test_one_event(raw: bytes, data: bytes | None) -> None:
    whole = SseSplitter().feed(raw)
    assert [event.data for event in whole] == [data]
    splitter = SseSplitter()
    by_bytes = [event for byte in raw for event in splitter.feed(bytes((byte,)))]
    assert by_bytes == whole


def test_cr_lf_is_one_line_end() -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: a\r\ndata: b\r\n") == []
    assert splitter.feed(b"\r\n") == [SseEvent(b"data: a\r\ndata: b\r\n\r\n", b"a\nb")]


@pytest.mark.parametrize("data", [b'{"a": 1}', b"[DONE]"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\r"])
def test_flush_completes_the_last_event(data: bytes, end: bytes) -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: " + data + end) == []
    (event,) = splitter.flush()
    assert event.data == data
    assert splitter.flush() == []


@pytest.mark.parametrize(
    "rest",
    [b"", b"\n", b"da", b"data: ", b'data: {"half', b"data: [DON", b": keep-al", b"event: x"],
)
def test_flush_drops_what_is_part_of_an_event(rest: bytes) -> None:
    splitter = SseSplitter()
    assert splitter.feed(rest) == []
    assert splitter.flush() == []


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.openai.sse.MAX_EVENT_BYTES", 100)
    splitter = SseSplitter()
    splitter.feed(b"data: " + b"x" * 90)
    with pytest.raises(EventTooLong):
        splitter.feed(b"x" * 10)
