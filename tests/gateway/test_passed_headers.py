"""Which headers go from the client to the backend and back, and which never do."""

import aiohttp
import pytest

from gateway.backends.http import HttpBackend
from gateway.backends.requests import BackendRequest
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.running_router import request_context, running_router
from tests.gateway.scripted_upstream import COMPLETION, ScriptedUpstream, answer_json

CHAT = "/v1/chat/completions"

PASSED_ON = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "tools-2024-04-04,thinking-2025",
    "OpenAI-Beta": "assistants=v2",
    "OpenAI-Organization": "org-1",
    "X-Request-ID": "request-1",
}
KEPT = {
    "Authorization": "Bearer sk-of-the-client",
    "X-Api-Key": "sk-of-the-client",
    "Api-Key": "sk-of-the-client",
    "Proxy-Authorization": "Basic sk-of-the-client",
    "Cookie": "session=sk-of-the-client",
    "OpenAI-Api-Key": "sk-of-the-client",
    "Anthropic-Auth-Token": "sk-of-the-client",
    "Anthropic-Client-Secret": "sk-of-the-client",
    "X-Stainless-Lang": "python",
}


@pytest.mark.parametrize("api_key", [None, "sk-of-the-gateway"])
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings"])
async def test_what_steers_the_api_goes_to_the_backend_and_no_credential_does(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    api_key: str | None,
    path: str,
) -> None:
    gateway = start_gateway(backend_of(upstream, api_key=api_key))
    body = chat_body(input="text")
    async with client.post(gateway.url + path, json=body, headers=PASSED_ON | KEPT) as response:
        assert response.status == 200
    (received,) = upstream.requests
    headers = {name.lower(): value for name, value in received.headers.items()}
    for name, value in PASSED_ON.items():
        assert headers[name.lower()] == value
    assert "sk-of-the-client" not in str(headers)
    assert headers.get("authorization") == (f"Bearer {api_key}" if api_key else None)
    assert not {name.lower() for name in KEPT} - {"authorization"} & set(headers)


@pytest.mark.parametrize("status", [200, 429])
async def test_what_a_client_can_use_comes_back(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    status: int,
) -> None:
    passed = {
        "X-Request-ID": "upstream-1",
        "Request-ID": "req_1",
        "Retry-After": "20",
        "x-ratelimit-remaining-tokens": "5",
        "anthropic-ratelimit-requests-remaining": "4",
        "openai-processing-ms": "3",
    }
    kept = {"Set-Cookie": "a=b", "Server": "vllm", "X-Internal-Host": "10.0.0.1"}
    upstream.script = lambda _request: answer_json(COMPLETION, status=status, headers=passed | kept)
    gateway = start_gateway(backend_of(upstream))
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        assert response.status == status
        for name, value in passed.items():
            assert response.headers[name] == value
        assert "10.0.0.1" not in response.headers.values()
        assert "Set-Cookie" not in response.headers


async def test_a_requests_own_headers_win_over_the_clients(upstream: ScriptedUpstream) -> None:
    async with running_router(backend_of(upstream)) as router:
        backend: HttpBackend = router.backends[0]
        request = BackendRequest(CHAT, b"{}", {"anthropic-version": "2023-06-01"})
        context = request_context({b"anthropic-version": b"1999-01-01"})
        answer = await backend.open(request, context)
        answer.close()
    assert upstream.requests[0].headers["anthropic-version"] == "2023-06-01"
