"""No key, password or authorization header leaves the gateway: not by logs, events, metrics or
errors."""

import signal
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.gateway.access_keys import make_key
from tests.gateway.conftest import chat_body
from tests.gateway.gateway_process import gateway_process, wait_until_alive
from tests.gateway.recorded_events import read_events
from tests.gateway.scripted_upstream import COMPLETION, ScriptedUpstream, answer_json
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"
BACKEND_KEY = "backend-key-4711"
PASSWORD = "pass-word-4712"


async def test_no_secret_leaves_the_gateway(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession, nats_url: str
) -> None:
    statuses = iter((401, 403, 400, 422, 200))

    async def repeat_the_credential(request: web.Request) -> web.StreamResponse:
        text = f"wrong credential: {request.headers['Authorization']}"
        status = next(statuses)
        if status == 200:
            return await answer_json(COMPLETION)
        return await answer_json({"error": {"message": text}}, status=status)

    upstream.script = repeat_the_credential
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    dead = free_port()
    key = make_key(tmp_path / "keys.json")
    (tmp_path / "sluice.toml").write_text(
        f"""
        [gateway]
        port = {port}
        keys_file = "keys.json"
        log_format = "json"
        [encoder]
        enabled = false
        [nats]
        url = "{nats_url}"
        [postgres]
        url = "postgresql://sluice:{PASSWORD}@127.0.0.1:{dead}/sluice"
        [[backends]]
        name = "scripted"
        kind = "vllm"
        url = "{upstream.url}"
        models = ["tiny"]
        api_key = "{BACKEND_KEY}"
        [[backends]]
        name = "gone"
        kind = "openai"
        url = "http://user:{PASSWORD}@127.0.0.1:{dead}"
        models = ["gone"]
        """
    )
    seen = []
    wrong = f"{key[:-8]}wrong-it"
    with gateway_process(tmp_path) as (process, log):
        await wait_until_alive(client, url)
        for used in (key, wrong):
            headers = {"Authorization": f"Bearer {used}", "x-api-key": used}
            for model in (*["tiny"] * 5, "gone", "unknown"):
                body = chat_body(model=model)
                async with client.post(
                    f"{url}{CHAT}?key={used}", json=body, headers=headers
                ) as response:
                    seen.append(f"{response.headers}{await response.text()}")
            for path in ("/metrics", "/healthz?verbose", "/v1/models"):
                async with client.get(url + path, headers=headers) as response:
                    seen.append(f"{response.headers}{await response.text()}")
            # The answer repeats what was asked for; the log need not.
            async with client.get(f"{url}/v1/models/{used}", headers=headers) as response:
                assert response.status in (401, 404)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    events = await read_events(nats_url)
    assert len([each for each in events if each.event.payload.__class__.__name__ == "ChatPersist"])
    everything = {
        "answers": "\n".join(seen),
        "events": "\n".join(map(str, events)),
        "log": log.read_text(),
    }
    for where, text in everything.items():
        for secret in (BACKEND_KEY, PASSWORD, key[-20:], "wrong-it", "Bearer sk"):
            position = text.find(secret)
            assert position < 0, (where, text[max(0, position - 300) : position + 100])
