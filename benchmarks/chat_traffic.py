"""Chat requests at a fixed rate through the gateway, and how soon their rows can be read."""

import asyncio
import time
from dataclasses import dataclass, field

import aiohttp
import psycopg

from tests.support.scripted_model_server import MODEL

_PROBE_EVERY_SECONDS = 0.5
_LOOK_SECONDS = 0.25
_REQUEST_SECONDS = 30.0
_TOOL = {
    "type": "function",
    "function": {
        "name": "measure_level",
        "parameters": {"type": "object", "properties": {"question": {"type": "string"}}},
    },
}
_TURN = "The level of the weir was read at the gauge, entered in the log and compared. "


@dataclass
class Traffic:
    """What was sent and what came of it."""

    answered: int = 0
    failed: int = 0
    late: int = 0
    """Sent more than a second after their time: the machine did not get to it."""
    delays: list[float] = field(default_factory=list)
    """Seconds from an answer's end until its row in `chat_history` could be read."""
    unseen: dict[str, float] = field(default_factory=dict)
    """Correlation ID → when the answer ended, of probes whose row has not been seen."""


async def send_chats(
    gateway: str, traffic: Traffic, *, name: str, per_second: float, seconds: float
) -> None:
    """Send requests on their time, whether earlier ones are answered or not."""
    started = time.monotonic()
    last_probe = 0.0
    tasks: set[asyncio.Task[None]] = set()
    timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(gateway, timeout=timeout, connector=connector) as session:
        for number in range(int(per_second * seconds)):
            due = started + number / per_second
            now = time.monotonic()
            if due > now:
                await asyncio.sleep(due - now)
            traffic.late += now - due > 1.0
            is_probe = due - last_probe >= _PROBE_EVERY_SECONDS
            last_probe = due if is_probe else last_probe
            task = asyncio.create_task(
                _send(session, traffic, f"{name}-{number}", number, is_probe=is_probe)
            )
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks)


async def _send(
    session: aiohttp.ClientSession,
    traffic: Traffic,
    correlation_id: str,
    number: int,
    *,
    is_probe: bool,
) -> None:
    body = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": _TURN * 6},
            {"role": "user", "content": f"Case {number}: when does the spillway gate open?"},
        ],
        "stream": bool(number % 2),
    }
    if number % 5 == 0:
        body["tools"] = [_TOOL]
    headers = {"X-Correlation-ID": correlation_id}
    try:
        async with session.post("/v1/chat/completions", json=body, headers=headers) as reply:
            await reply.read()
            is_answered = reply.status == 200
    except (aiohttp.ClientError, TimeoutError):
        is_answered = False
    traffic.answered += is_answered
    traffic.failed += not is_answered
    if is_answered and is_probe:
        traffic.unseen[correlation_id] = time.monotonic()


async def watch_rows(database_url: str, traffic: Traffic, *, until: asyncio.Event) -> None:
    """Look for the probes' rows until the event is set and none is left to be seen."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while not until.is_set() or traffic.unseen:
            wanted = list(traffic.unseen)
            cursor = await connection.execute(
                "SELECT correlation_id FROM chat_history WHERE correlation_id = ANY(%s)", [wanted]
            )
            seen_at = time.monotonic()
            for (correlation_id,) in await cursor.fetchall():
                traffic.delays.append(seen_at - traffic.unseen.pop(correlation_id))
            await asyncio.sleep(_LOOK_SECONDS)
