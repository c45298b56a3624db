"""Which APIs a backend is found to speak, or is said to."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from contracts.settings import Api, BackendSettings
from gateway.backends.detection import detect_apis
from tests.gateway.running_router import running_router, wait_until
from tests.gateway.served_app import served
from tests.support.llamacpp_server import llamacpp_process
from tests.support.ports import free_port
from tests.support.processes import running
from tests.support.tiny_gguf import write_tiny_gguf

MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"


@pytest.fixture
def llamacpp_url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    process = llamacpp_process(write_tiny_gguf(tmp_path / "tiny.gguf"), port)
    with running(process, log=tmp_path / "log"):
        yield f"http://127.0.0.1:{port}"


class ServerOfApis:
    """Answers an empty request as the servers of a kind do; for none of them a model is needed."""

    def __init__(self, refusals: dict[str, web.Response], unknown: tuple[int, str]) -> None:
        self.asked: list[str] = []
        self._refusals = refusals
        self._unknown = unknown

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"object": "list", "data": []})
        assert await request.read() == b"{}"
        self.asked.append(request.path)
        refusal = self._refusals.get(request.path)
        if refusal is None:
            status, text = self._unknown
            return web.Response(status=status, text=text)
        return web.Response(status=refusal.status, text=refusal.text)


def missing(field: str, status: int = 400) -> web.Response:
    return web.json_response({"error": {"message": f"'{field}' is required"}}, status=status)


def serving(server: ServerOfApis) -> AbstractAsyncContextManager[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    return served(app)


def backend_at(url: str, **fields: Any) -> BackendSettings:
    return BackendSettings(name="a", kind="openai", url=url, models=("tiny",), **fields)


@pytest.mark.parametrize(
    ("refusals", "unknown", "found"),
    [
        pytest.param(
            {MESSAGES: missing("messages", 500), RESPONSES: missing("input")},
            (404, '{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}'),
            {"messages"},
            id="llama.cpp",
        ),
        pytest.param(
            {MESSAGES: missing("messages"), RESPONSES: missing("input")},
            (404, '{"detail":"Not Found"}'),
            {"messages", "responses"},
            id="vLLM",
        ),
        pytest.param(
            {RESPONSES: missing("input")},
            (200, '{"error":"Unexpected endpoint or method. (POST /v1/messages)"}'),
            {"responses"},
            id="LM Studio without messages",
        ),
        pytest.param({MESSAGES: missing("x", 422)}, (405, ""), {"messages"}, id="FastAPI"),
        pytest.param({}, (404, ""), set(), id="chat only"),
        pytest.param({}, (400, "no such model"), set(), id="400 whatever the path"),
        pytest.param({MESSAGES: missing("x", 401)}, (401, ""), set(), id="key refused"),
        pytest.param({}, (500, "required"), set(), id="500 whatever the path"),
        pytest.param(
            {MESSAGES: web.Response(status=500, text="oh")}, (404, ""), set(), id="broken"
        ),
    ],
)
async def test_an_api_is_spoken_that_misses_its_fields(
    refusals: dict[str, web.Response], unknown: tuple[int, str], found: set[Api]
) -> None:
    async with (
        serving(ServerOfApis(refusals, unknown)) as url,
        running_router(backend_at(url)) as router,
    ):
        assert await detect_apis(router.backends[0]) == found


async def test_llamacpp_itself_is_found_to_speak_messages_alone(llamacpp_url: str) -> None:
    """It has the path of the responses too, but no client can use its events."""
    async with running_router(backend_at(llamacpp_url)) as router:
        assert await detect_apis(router.backends[0]) == {"messages"}


async def test_a_running_gateway_finds_out_by_itself() -> None:
    server = ServerOfApis({MESSAGES: missing("messages")}, (404, ""))
    async with serving(server) as url, running_router(backend_at(url), is_watching=True) as router:
        (backend,) = router.backends
        assert not backend.speaks("messages")
        await wait_until(lambda: backend.speaks("messages"))
        assert backend.speaks("chat")
        assert not backend.speaks("responses")
        assert backend.serves("responses")


async def test_what_the_settings_say_is_not_asked_about() -> None:
    server = ServerOfApis({MESSAGES: missing("messages")}, (404, ""))
    async with (
        serving(server) as url,
        running_router(
            backend_at(url, apis=("responses",)), is_watching=True, health_interval_seconds=0.01
        ) as router,
    ):
        (backend,) = router.backends
        await wait_until(lambda: backend.has_answered)
        assert not server.asked
        assert backend.apis == {"responses"}
        assert not backend.serves("chat")
