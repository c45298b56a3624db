"""The events of a Messages stream, read and held to the protocol's order."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

MESSAGES = "/v1/messages"


def message_body(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Say hello"}]
    return {"model": "tiny", "max_tokens": 64, "messages": messages, **fields}


@dataclass(frozen=True)
class MessageEvent:
    """One event: its `event:` name and its data."""

    name: str
    data: dict[str, Any]


def read_events(body: bytes) -> list[MessageEvent]:
    """Cut a stream into its events, each with a name and data of that type, and no ID."""
    events = []
    for block in body.decode().removesuffix("\n\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        assert set(lines) == {"event", "data"}
        data = json.loads(lines["data"])
        assert data["type"] == lines["event"]
        events.append(MessageEvent(lines["event"], data))
    return events


async def stream_events(
    client: aiohttp.ClientSession,
    url: str,
    *,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> list[MessageEvent]:
    body = message_body(stream=True, **fields)
    async with client.post(url + MESSAGES, json=body, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        return read_events(await response.read())


def blocks_of(events: list[MessageEvent]) -> list[dict[str, Any]]:
    """Put the content blocks together; every one must start, be filled and stop in its turn."""
    blocks: list[dict[str, Any]] = []
    open_index: int | None = None
    for event in events:
        if event.name == "content_block_start":
            assert open_index is None, "a block starts before the last one has stopped"
            assert event.data["index"] == len(blocks)
            open_index = len(blocks)
            blocks.append({**event.data["content_block"], "deltas": []})
        elif event.name == "content_block_delta":
            assert event.data["index"] == open_index, "a delta without a start"
            blocks[-1]["deltas"].append(event.data["delta"])
        elif event.name == "content_block_stop":
            assert event.data["index"] == open_index
            open_index = None
    assert open_index is None, "a block never stops"
    return [_assembled(block) for block in blocks]


def _assembled(block: dict[str, Any]) -> dict[str, Any]:
    deltas = block.pop("deltas")
    for delta in deltas:
        if delta["type"] == "text_delta":
            block["text"] += delta["text"]
        elif delta["type"] == "thinking_delta":
            block["thinking"] += delta["thinking"]
        elif delta["type"] == "signature_delta":
            assert block["signature"] == "", "a second signature"
            block["signature"] = delta["signature"]
    if block["type"] == "tool_use":
        parts = [delta["partial_json"] for delta in deltas]
        assert block["input"] == {}
        block["input"] = json.loads("".join(parts) or "{}")
    return block
