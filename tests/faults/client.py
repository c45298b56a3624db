"""Sends calls and reads their answers to the last byte, strictly: what is cut off is no answer."""

import json
from collections.abc import Iterator
from typing import Any

import aiohttp

from tests.faults.calls import Call
from tests.faults.history import Told

_CALL_SECONDS = 40.0


class CutOff(Exception):
    """A stream ended without the event that ends it."""


class ToldOfFailure(Exception):
    """The gateway told the client that there is no answer, within a stream."""


def new_session(api_key: str, *, seconds: float = _CALL_SECONDS) -> aiohttp.ClientSession:
    """Return a session in which every call may take so long and no longer."""
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {api_key}"},
        timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=5),
        connector=aiohttp.TCPConnector(limit=0),
    )


async def send(session: aiohttp.ClientSession, gateway_url: str, call: Call) -> dict[str, Any]:
    """Send one call; return the fields of its `Ended`."""
    headers = {"X-Correlation-ID": call.correlation_id}
    if not call.may_search:
        headers["X-Sluice-Retrieval"] = "off"
    try:
        async with session.post(gateway_url + call.path, json=call.body, headers=headers) as reply:
            content = await reply.read()
            if reply.status != 200:
                return _ended("fail", f"{reply.status} {content[:200]!r}")
            return {"outcome": "ok", "told": _read(call, reply.headers, content)}
    except ToldOfFailure as failure:
        return _ended("fail", str(failure))
    except aiohttp.ClientConnectorError as failure:
        return _ended("fail", f"nothing was sent: {failure}")
    except (aiohttp.ClientError, TimeoutError, OSError, CutOff, ValueError) as error:
        return _ended("unknown", f"{type(error).__name__} {error}")


def _ended(outcome: str, detail: str) -> dict[str, Any]:
    return {"outcome": outcome, "detail": detail[:300]}


def _read(call: Call, headers: Any, content: bytes) -> Told:
    if call.api == "embeddings":
        if len(json.loads(content)["data"]) != 2:
            raise CutOff("not both vectors")
        return Told()
    if call.is_streaming:
        events = list(_events(content))
        text, tools, response = _READ_STREAM[call.api](events)
    else:
        text, tools, response = _READ_BODY[call.api](json.loads(content))
    status = headers.get("x-sluice-retrieval", "off")
    return Told(
        text=text or None,
        tools=tools,
        has_searched=status != "off",
        has_sources=bool(headers.get("x-sluice-sources")),
        has_embedded=status == "ok" and "embed;" in headers.get("server-timing", ""),
        response_id=response if call.is_kept else None,
    )


def _events(content: bytes) -> Iterator[Any]:
    for line in content.decode().splitlines():
        if line.startswith("data:"):
            data = line.removeprefix("data:").strip()
            yield data if data == "[DONE]" else json.loads(data)


_Reading = tuple[str, list[str], str | None]
"""Text, functions called, ID of the response."""


def _chat_body(body: Any) -> _Reading:
    message = body["choices"][0]["message"]
    calls = message.get("tool_calls") or []
    return message.get("content") or "", [each["function"]["name"] for each in calls], None


def _chat_stream(events: list[Any]) -> _Reading:
    if not events or events[-1] != "[DONE]":
        raise CutOff("no [DONE]")
    text, tools = "", []
    for event in events[:-1]:
        _raise_error(event)
        for choice in event["choices"]:
            delta = choice["delta"]
            text += delta.get("content") or ""
            tools += [
                each["function"]["name"]
                for each in delta.get("tool_calls") or ()
                if each["function"].get("name")
            ]
    return text, tools, None


def _messages_body(body: Any) -> _Reading:
    blocks = body["content"]
    text = "".join(each["text"] for each in blocks if each["type"] == "text")
    return text, [each["name"] for each in blocks if each["type"] == "tool_use"], None


def _messages_stream(events: list[Any]) -> _Reading:
    text, tools = "", []
    for event in events:
        _raise_error(event)
        if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use":
            tools.append(event["content_block"]["name"])
        elif event["type"] == "content_block_delta":
            text += event["delta"].get("text", "")
    if not events or events[-1]["type"] != "message_stop":
        raise CutOff("no message_stop")
    return text, tools, None


def _responses_body(body: Any) -> _Reading:
    text, tools = "", []
    for item in body["output"]:
        if item["type"] == "message":
            text += "".join(part["text"] for part in item["content"])
        elif item["type"] == "function_call":
            tools.append(item["name"])
    return text, tools, body["id"]


def _responses_stream(events: list[Any]) -> _Reading:
    for event in events:
        _raise_error(event)
        if event["type"] == "response.failed":
            raise ToldOfFailure(json.dumps(event["response"].get("error")))
    if not events or events[-1]["type"] != "response.completed":
        raise CutOff("no response.completed")
    return _responses_body(events[-1]["response"])


def _raise_error(event: Any) -> None:
    if isinstance(event, dict) and (event.get("error") or event.get("type") == "error"):
        raise ToldOfFailure(json.dumps(event)[:200])


_READ_BODY = {"chat": _chat_body, "messages": _messages_body, "responses": _responses_body}
_READ_STREAM = {"chat": _chat_stream, "messages": _messages_stream, "responses": _responses_stream}
