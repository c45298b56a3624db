"""A test double of a model server: its answer is a function of the request.

It stands in for a language model where a test must know every answer beforehand; what is between
client and model server is the real platform.
"""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

MODEL = "scripted"
SLOW_MODEL = "scripted-slow"
"""Streams a word every `SLOW_WORD_SECONDS`."""
SLOW_WORD_SECONDS = 0.25

_CONTEXT = "<context>"


def answer_to(question: str) -> str:
    """The text that the model answers to `question`."""
    return f"You asked: {question} My answer has {len(question)} parts."


def tool_calls_for(question: str, tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The calls that the model answers with: one of each tool."""
    return [
        {
            "id": f"call_{position}_{abs(hash_of(question))}",
            "type": "function",
            "function": {
                "name": tool["function"]["name"],
                "arguments": json.dumps({"question": question, "position": position}),
            },
        }
        for position, tool in enumerate(tools)
    ]


def usage_for(question: str) -> dict[str, int]:
    """The usage that the model reports."""
    prompt, completion = len(question), len(answer_to(question).split())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def hash_of(text: str) -> int:
    """A number that is the same in every process, unlike `hash`."""
    return int.from_bytes(text.encode()[-6:], "big")


@dataclass
class ScriptedModelServer:
    """The running server."""

    url: str = ""
    request_count: int = 0
    grounded_count: int = 0
    """Requests whose prompt came with passages from documents."""

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.request_count += 1
        prompt: str = body["messages"][-1]["content"]
        self.grounded_count += _CONTEXT in prompt
        question = prompt.partition(_CONTEXT)[0].strip()
        message: dict[str, Any] = {"role": "assistant", "content": answer_to(question)}
        finish_reason = "stop"
        if body.get("tools"):
            message["content"] = None
            message["tool_calls"] = tool_calls_for(question, body["tools"])
            finish_reason = "tool_calls"
        if body.get("stream"):
            pause = SLOW_WORD_SECONDS if body["model"] == SLOW_MODEL else 0.0
            return await _stream(request, body, message, finish_reason, usage_for(question), pause)
        return web.json_response(
            {
                **_head(body, "chat.completion"),
                "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
                "usage": usage_for(question),
            }
        )

    async def _models(self, _request: web.Request) -> web.Response:
        models = [{"id": model, "object": "model", "created": 7} for model in (MODEL, SLOW_MODEL)]
        return web.json_response({"object": "list", "data": models})


async def _stream(
    request: web.Request,
    body: Mapping[str, Any],
    message: Mapping[str, Any],
    finish_reason: str,
    usage: Mapping[str, int],
    pause: float,
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)

    async def send(**fields: Any) -> None:
        event = {**_head(body, "chat.completion.chunk"), **fields}
        await response.write(f"data: {json.dumps(event)}\n\n".encode())

    async def send_delta(delta: Mapping[str, Any], finish_reason: str | None = None) -> None:
        await send(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}])

    await send_delta({"role": "assistant"})
    for delta in _deltas(message):
        await send_delta(delta)
        await asyncio.sleep(pause)
    await send_delta({}, finish_reason)
    if (body.get("stream_options") or {}).get("include_usage"):
        await send(choices=[], usage=usage)
    await response.write(b"data: [DONE]\n\n")
    return response


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for word in (message["content"] or "").split(" "):
        if word:
            yield {"content": word if message["content"].startswith(word) else f" {word}"}
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        head = {"name": function["name"], "arguments": ""}
        yield {"tool_calls": [{**call, "index": index, "function": head}]}
        middle = len(function["arguments"]) // 2
        for part in (function["arguments"][:middle], function["arguments"][middle:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


def _head(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-scripted", "object": kind, "created": 1, "model": body["model"]}


@contextmanager
def scripted_model_server(*, port: int = 0) -> Iterator[ScriptedModelServer]:
    """Run the server on 127.0.0.1, by default on a free port, in a thread of its own."""
    server = ScriptedModelServer()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted-model-server", daemon=True)
    thread.start()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", server._chat)
        app.router.add_get("/v1/models", server._models)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def backend_table(server: ScriptedModelServer) -> str:
    """The table of `sluice.toml` that makes the gateway use `server`."""
    return (
        f'[[backends]]\nname = "scripted"\nkind = "openai"\nurl = "{server.url}"\n'
        f'models = ["{MODEL}", "{SLOW_MODEL}"]\n'
    )
