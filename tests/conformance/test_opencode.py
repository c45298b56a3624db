"""opencode's command line holds a session with a tool call through the gateway."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.conformance.javascript import require_packages
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream, stream_script
from tests.support.recorded_answers import RECORDERS, Call, Recorder, Text, Turn

FOLDER = Path(__file__).with_name("opencode")
QUESTION = "Which gate is open? It is in notes.txt."
NOTES = "the north gate is open"
ANSWER = "It is the north gate."
PROVIDERS = ("@ai-sdk/openai-compatible", "@ai-sdk/anthropic", "@ai-sdk/openai")
"""The part of opencode that speaks the protocol: chat completions, messages, responses."""
_SECONDS = 120


@pytest.fixture(scope="module")
def opencode() -> Path:
    """The binary; its package has no script that would download anything."""
    require_packages(FOLDER)
    binaries = list(FOLDER.glob("node_modules/opencode-*/bin/opencode"))
    if not binaries:
        pytest.skip("opencode has no package for this platform")
    return binaries[0]


@pytest.mark.parametrize(
    ("provider", "recorder"), list(zip(PROVIDERS, RECORDERS, strict=True)), ids=PROVIDERS
)
async def test_session_with_a_tool_call(
    opencode: Path,
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    provider: str,
    recorder: Recorder,
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    notes = project / "notes.txt"
    notes.write_text(NOTES)
    upstream.script = _read_then_answer(recorder, notes)

    events = await _run(opencode, tmp_path, _configuration(gateway, provider, recorder.model))

    parts = [event["part"] for event in events]
    [tool] = [part for part in parts if part["type"] == "tool"]
    assert (tool["tool"], tool["callID"]) == ("read", "call_1")
    assert tool["state"]["status"] == "completed"
    assert NOTES in tool["state"]["output"]
    assert [part["text"] for part in parts if part["type"] == "text"] == [ANSWER]
    finishes = [part["reason"] for part in parts if part["type"] == "step-finish"]
    assert finishes == ["tool-calls", "stop"]


def _read_then_answer(recorder: Recorder, file: Path) -> Any:
    """Return a script that has `file` read where tools are offered, and then answers."""
    arguments = json.dumps({"filePath": str(file)})
    read = Turn((Call("call_1", "read", (arguments[:9], arguments[9:])),))

    async def script(request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        results = [message for message in asked["messages"] if message["role"] == "tool"]
        if results:
            assert NOTES in json.dumps(results)
            turn = Turn((Text((ANSWER[:5], ANSWER[5:])),))
        else:
            # A request without tools is for the session's title.
            turn = read if asked.get("tools") else Turn((Text(("A gate",)),))
        return await stream_script(recorder.stream(turn))(request)

    return script


def _configuration(gateway: RunningGateway, package: str, model: str) -> dict[str, Any]:
    """https://opencode.ai/docs/providers/"""
    provider = {
        "npm": package,
        "options": {"baseURL": f"{gateway.url}/v1", "apiKey": "none"},
        "models": {model: {"tool_call": True}},
    }
    return {
        "provider": {"sluice": provider},
        "model": f"sluice/{model}",
        "small_model": f"sluice/{model}",
        "autoupdate": False,
        "share": "disabled",
    }


async def _run(opencode: Path, folder: Path, configuration: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask once in `folder`'s project; return the events that are printed."""
    config = folder / "opencode.json"
    config.write_text(json.dumps(configuration))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "OPENCODE_CONFIG": str(config),
        # It is to speak with nobody but the gateway.
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }
    process = await asyncio.create_subprocess_exec(
        opencode,
        "run",
        "--format",
        "json",
        QUESTION,
        cwd=folder / "project",
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()[-4000:]
    return [json.loads(line) for line in output.splitlines()]
