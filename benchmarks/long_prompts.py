"""Sends prompts of 100,000 tokens one after the other, beside another load."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import msgspec

from benchmarks.figures import require
from benchmarks.wrk_load import Request

TOKENS = 100_000
_PAUSE_SECONDS = 0.1
_TIMEOUT_SECONDS = 60
_WORDS = "The broker keeps what a consumer has not acknowledged, and a run gives it back. "
"""Sixteen tokens or so."""


def long_body(model: str) -> bytes:
    """Return a chat request for `model` whose prompt has about `TOKENS` tokens."""
    text = _WORDS * (TOKENS // 16)
    return msgspec.json.encode(
        {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}]}
    )


@contextmanager
def long_prompts_sent(request: Request) -> Iterator[list[float]]:
    """Send `request` over and over from a thread; yield the milliseconds that answers took.

    Raises:
        InvariantBroken: an answer was none, or none came.
    """
    milliseconds: list[float] = []
    statuses: list[int] = []
    is_over = threading.Event()

    def send() -> None:
        parts = urlsplit(request.url)
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS
        )
        headers = {"Content-Type": "application/json", **request.headers}
        while not is_over.wait(_PAUSE_SECONDS):
            started = time.perf_counter()
            connection.request("POST", parts.path, request.body, headers)
            answer = connection.getresponse()
            answer.read()
            milliseconds.append((time.perf_counter() - started) * 1000)
            statuses.append(answer.status)
        connection.close()

    thread = threading.Thread(target=send, name="long-prompts", daemon=True)
    thread.start()
    try:
        yield milliseconds
    finally:
        is_over.set()
        thread.join(_TIMEOUT_SECONDS)
    require(
        bool(statuses) and set(statuses) == {200},
        f"the long prompts were answered with the statuses {sorted(set(statuses))}",
    )
