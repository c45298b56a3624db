"""Odd request bodies: good ones with something wrong in them, and noise."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.conformance.dialects import DIALECTS
from tests.conformance.turns import FUNCTIONS

_TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": parameters}}
    for name, parameters in FUNCTIONS.items()
]
_EMBEDDINGS = {"input": ["a text", "another"], "encoding_format": "base64", "dimensions": None}
_EXTRAS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "tools": _TOOLS,
        "stream_options": {"include_usage": True},
        "retrieval": {"enabled": True, "top_k": 3, "sources": ["a.md"], "attributes": {"a": "b"}},
        "max_tokens": 16,
        "n": 2,
        "stop": ["\n"],
        "seed": 1,
    },
}
_EXTRAS["/v1/messages"] = {
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Open it."}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "tool_use", "id": "t", "name": "open_gate", "input": {"gate": "north"}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]},
    ],
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "tools": [
        {"name": name, "description": "a tool", "input_schema": parameters}
        for name, parameters in FUNCTIONS.items()
    ],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "stop_sequences": ["\n"],
    "metadata": {"user_id": "u"},
}
_EXTRAS["/v1/responses"] = {
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Open it."}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "c", "name": "open_gate", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
    ],
    "instructions": "Be brief.",
    "tools": [{"type": "function", "strict": True, **tool["function"]} for tool in _TOOLS],
    "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}},
    "previous_response_id": None,
    "max_output_tokens": 16,
    "reasoning": {"effort": "low"},
    "metadata": {"a": "b"},
}
_ODD_STRINGS = (
    "",
    "\x00",
    "\ud800",
    "\N{SNOWMAN}" * 50,
    "a" * 5_000,
    "../../etc/passwd",
    "%s%n{}{0}",
    "'; DROP TABLE chat_history; --",
    "\r\nX-Injected: 1",
    "NaN",
)
_ODD_NUMBERS = (0, -1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -0.0, 5e-324, 0.1)
_RAW_TOKENS = (b"NaN", b"Infinity", b"1e999", b"-", b'"\\ud800"', b'"\xff"', b"{}", b"[", b"\x00")


@dataclass(frozen=True)
class FuzzedRequest:
    """A POST; `headers` may be odd too."""

    path: str
    body: bytes
    headers: dict[str, str]


def fuzzed_requests(seed: int, count: int, models: tuple[str, ...]) -> Iterator[FuzzedRequest]:
    """Yield `count` requests, always the same for a seed."""
    chance = random.Random(seed)
    good = [(dialect.path, dialect.body) for dialect in DIALECTS]
    good.append(("/v1/embeddings", _EMBEDDINGS))
    for _ in range(count):
        path, body = chance.choice(good)
        fields: Any = {
            **body,
            **_EXTRAS.get(path, {}),
            "model": chance.choice(models),
            "stream": chance.random() < 0.3,
        }
        yield FuzzedRequest(path, _spoil(chance, fields), _headers(chance))


def _spoil(chance: random.Random, fields: dict[str, Any]) -> bytes:
    way = chance.random()
    if way < 0.05:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(200)))
    if way < 0.08:
        depth = chance.choice((50, 500, 5_000, 100_000))
        opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
        nested = opening * depth + b"1" + closing * (depth if chance.random() < 0.7 else 0)
        return _encode({**fields, "messages": "@"}).replace(b'"@"', nested, 1)
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        fields = _replace_somewhere(chance, fields)
    body = _encode(fields)
    if way < 0.3:
        body = _spoil_bytes(chance, body)
    return body


def _replace_somewhere(chance: random.Random, value: Any) -> Any:
    """Return a copy with one value, at whatever depth, replaced, removed or doubled."""
    if isinstance(value, dict) and value:
        copy = dict(value)
        name = chance.choice(list(copy))
        way = chance.random()
        if way < 0.15:
            del copy[name]
        elif way < 0.25:
            copy[chance.choice(_ODD_STRINGS)] = copy[name]
        elif way < 0.6:
            copy[name] = _odd_value(chance)
        else:
            copy[name] = _replace_somewhere(chance, copy[name])
        return copy
    if isinstance(value, list) and value:
        items = list(value)
        at = chance.randrange(len(items))
        if chance.random() < 0.3:
            return items * chance.choice((0, 2, 50))
        items[at] = _replace_somewhere(chance, items[at])
        return items
    return _odd_value(chance)


def _odd_value(chance: random.Random) -> Any:
    return chance.choice(
        (
            None,
            True,
            False,
            chance.choice(_ODD_STRINGS),
            chance.choice(_ODD_NUMBERS),
            [],
            {},
            [None],
            [[[]]],
            {"": {}},
            {"type": "text", "text": chance.choice(_ODD_STRINGS)},
            [{"type": "image_url", "image_url": {"url": "data:image/png;base64,===="}}],
            [chance.choice(_ODD_STRINGS)] * 20,
        )
    )


def _spoil_bytes(chance: random.Random, body: bytes) -> bytes:
    at = chance.randrange(len(body))
    way = chance.randrange(4)
    if way == 0:
        return body[:at]
    if way == 1:
        return body[:at] + chance.choice(_RAW_TOKENS) + body[at:]
    if way == 2:
        return body[:at] + bytes((chance.randrange(256),)) + body[at + 1 :]
    return body + body[at:]


def _headers(chance: random.Random) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if chance.random() < 0.1:
        name = chance.choice(
            (
                "Content-Type",
                "X-Correlation-ID",
                "traceparent",
                "X-Sluice-Top-K",
                "X-Sluice-Min-Score",
                "X-Sluice-Collection",
                "X-Sluice-Retrieval",
                "anthropic-version",
                "Authorization",
            )
        )
        headers[name] = chance.choice(("", "0", "-1", "nan", "1e9", "on", "\xe9", "x" * 300, "a;b"))
    return headers


def _encode(fields: Any) -> bytes:
    """JSON; surrogates stay as escapes."""
    return json.dumps(fields).encode()
