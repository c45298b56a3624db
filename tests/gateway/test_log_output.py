"""Lines of requests are gathered for a moment; everything else is written at once, in order."""

import asyncio
import io

from gateway.log_output import LogOutput


class NotedStream(io.BytesIO):
    """A stream that tells when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.has_written = asyncio.Event()

    def flush(self) -> None:
        super().flush()
        self.has_written.set()


async def test_lines_are_written_together_soon() -> None:
    stream = NotedStream()
    output = LogOutput(stream, gathers=True)
    output.info(b"one")
    output.info("two")
    assert stream.getvalue() == b""
    await stream.has_written.wait()
    assert stream.getvalue() == b"one\ntwo\n"


async def test_a_warning_takes_along_what_waits_before_it() -> None:
    stream = NotedStream()
    output = LogOutput(stream, gathers=True)
    output.info(b"one")
    output.warning("two")
    assert stream.getvalue() == b"one\ntwo\n"


def test_nothing_waits_where_no_event_loop_runs() -> None:
    stream = io.BytesIO()
    LogOutput(stream, gathers=True).info("one")
    assert stream.getvalue() == b"one\n"


async def test_nothing_waits_before_a_person() -> None:
    stream = io.BytesIO()
    LogOutput(stream, gathers=False).info("one")
    assert stream.getvalue() == b"one\n"
