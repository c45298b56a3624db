"""`POST /v1/responses` without state, whole and streamed, in front of a chat completions server."""

import asyncio
import base64
import json
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.conformance.replay import FORMS, replay
from tests.conformance.turns import FUNCTIONS, ONE_CALL, PLAIN, STRUCTURED, TURNS
from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import (
    COMPLETION,
    DONE_EVENT,
    STREAM,
    ScriptedUpstream,
    answer_json,
    chunk,
    stream_script,
)
from tests.support.recorded_answers import RECORDERS, Recorder, Turn, VllmRecorder

RESPONSES = "/v1/responses"
TOOLS: Any = [
    {"type": "function", "name": name, "parameters": parameters, "strict": True}
    for name, parameters in FUNCTIONS.items()
]
ASK: Any = {"model": "tiny", "input": "Open the north gate.", "store": False}
IMAGE = "data:image/png;base64,iVBORw0KGgo="


class GateReading(BaseModel):
    gate: str
    metres: float


async def stream_events(
    client: aiohttp.ClientSession, gateway: RunningGateway, **fields: Any
) -> list[tuple[str, dict[str, Any]]]:
    """Return the events' names and data, in order."""
    body = {**ASK, "stream": True, **fields}
    async with client.post(gateway.url + RESPONSES, json=body) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        raw = await response.text()
    events = []
    for event in raw.removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def normalised(response: dict[str, Any]) -> dict[str, Any]:
    """Return a response without what differs from call to call."""
    text = json.dumps({**response, "created_at": 0, "completed_at": 0, "id": "resp"})
    for number, item in enumerate(response["output"]):
        text = text.replace(item["id"], f"item_{number}")
    plain: dict[str, Any] = json.loads(text)
    return plain


def summarise(output: list[Any]) -> list[Any]:
    """Return the kinds of the items and what they say."""
    said: list[Any] = []
    for item in output:
        if item.type == "message":
            said.append(("message", item.content[0].text))
        elif item.type == "reasoning":
            said.append(("reasoning", item.content[0].text))
        else:
            said.append((item.call_id, item.name, json.loads(item.arguments)))
    return said


def expected(turn: Turn) -> list[Any]:
    said: list[Any] = []
    if turn.reasoning:
        said.append(("reasoning", turn.reasoning))
    if turn.text:
        said.append(("message", turn.text))
    return said + [
        (call.tool_call_id, call.name, json.loads("".join(call.arguments))) for call in turn.calls
    ]


@pytest.mark.parametrize("recorder", RECORDERS, ids=lambda recorder: recorder.kind)
async def test_answers_of_every_backend_whole_and_streamed(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    for turn in TURNS.values():
        upstream.script = replay(recorder, turn)
        whole = await stateless.responses.create(**ASK, tools=TOOLS)
        assert summarise(whole.output) == expected(turn)
        for form in FORMS:
            upstream.script = replay(recorder, turn, form=form)
            streamed = await stateless.responses.create(**ASK, tools=TOOLS, stream=True)
            terminal = [event async for event in streamed][-1]
            assert terminal.type in ("response.completed", "response.incomplete")
            assert normalised(terminal.response.to_dict()) == normalised(whole.to_dict())
        assert whole.usage is not None
        assert whole.usage.input_tokens == turn.prompt_tokens
        assert whole.usage.output_tokens == turn.completion_tokens
        assert whole.usage.total_tokens == turn.prompt_tokens + turn.completion_tokens


async def test_behaviour_06_events_are_complete_and_ordered(
    stateless_gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script(STREAM)
    events = await stream_events(client, stateless_gateway)
    assert [name for name, _ in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert all(data["type"] == name for name, data in events)
    deltas = [data for name, data in events if name == "response.output_text.delta"]
    assert [data["delta"] for data in deltas] == ["Hel", "lo."]
    assert all(data["logprobs"] == [] for data in deltas)
    item_ids = {data["item_id"] for _, data in events if "item_id" in data}
    opened = events[2][1]["item"]
    assert item_ids == {opened["id"]}
    assert (opened["status"], opened["content"]) == ("in_progress", [])
    finished = events[-2][1]["item"]
    assert finished["status"] == "completed"
    assert finished["content"] == [
        {"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": []}
    ]
    created, response = events[0][1]["response"], events[-1][1]["response"]
    assert (created["id"], created["status"]) == (response["id"], "in_progress")
    assert (created["output"], created["usage"]) == ([], None)
    assert response["output"] == [finished]
    assert response["usage"]["total_tokens"] == 11


async def test_every_field_of_a_response_is_there(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    plain = (await stateless.responses.create(**ASK)).to_dict()
    assert plain["status"] == "completed"
    assert plain["object"] == "response"
    assert plain["model"] == "tiny"
    assert (plain["store"], plain["background"], plain["metadata"]) == (False, False, {})
    assert (plain["tools"], plain["tool_choice"]) == ([], "auto")
    assert plain["text"] == {"format": {"type": "text"}}
    assert plain["truncation"] == "disabled"
    for field in ("error", "incomplete_details", "instructions", "previous_response_id"):
        assert plain[field] is None
    fields: Any = {
        "metadata": {"ticket": "7"},
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 50,
        "instructions": "Be brief.",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low"},
        "truncation": "auto",
        "safety_identifier": "somebody",
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    }
    shown = (await stateless.responses.create(**ASK, **fields)).to_dict()
    assert {name: shown[name] for name in fields} == fields


async def test_request_becomes_a_chat_completion(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    text = base64.b64encode(b"# Gate log\n\nnorth: open").decode()
    await stateless.responses.create(
        model="tiny",
        store=False,
        instructions="Be brief.",
        input=[
            {"role": "developer", "content": "Speak of gates only."},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": IMAGE, "detail": "low"},
                    {
                        "type": "input_file",
                        "filename": "log.md",
                        "file_data": f"data:text/markdown;base64,{text}",
                    },
                ],
            },
        ],
        tools=TOOLS,
        tool_choice={"type": "function", "name": "read_level"},
        max_output_tokens=7,
        temperature=0.5,
        reasoning={"effort": "low"},
        text={"format": {"type": "json_schema", "name": "gate", "schema": {"type": "object"}}},
        extra_body={"seed": 11, "chat_template_kwargs": {"enable_thinking": False}},
    )
    assert upstream.requests[-1].json == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief.\n\nSpeak of gates only."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
                    {"type": "text", "text": "File log.md:\n# Gate log\n\nnorth: open"},
                ],
            },
        ],
        "tools": [
            {"type": "function", "function": {"name": name, "parameters": each, "strict": True}}
            for name, each in FUNCTIONS.items()
        ],
        "tool_choice": {"type": "function", "function": {"name": "read_level"}},
        "max_tokens": 7,
        "temperature": 0.5,
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "gate", "schema": {"type": "object"}},
        },
        "seed": 11,
        "chat_template_kwargs": {"enable_thinking": False},
    }


async def test_history_of_tools_and_reasoning_becomes_chat_messages(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    history: Any = [
        {"role": "user", "content": "Open both gates."},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "North first."}],
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Both.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "open_gate", "arguments": '{"g":1}'},
        {"type": "function_call", "call_id": "c2", "name": "open_gate", "arguments": '{"g":2}'},
        {"type": "function_call_output", "call_id": "c1", "output": "open"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "stuck"}],
        },
    ]
    await stateless.responses.create(model="tiny", store=False, input=history, tools=TOOLS)
    assert upstream.requests[-1].json["messages"] == [
        {"role": "user", "content": "Open both gates."},
        {
            "role": "assistant",
            "content": "Both.",
            "reasoning_content": "North first.",
            "tool_calls": [
                {
                    "id": f"c{number}",
                    "type": "function",
                    "function": {"name": "open_gate", "arguments": f'{{"g":{number}}}'},
                }
                for number in (1, 2)
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "open"},
        {"role": "tool", "tool_call_id": "c2", "content": "stuck"},
    ]


async def test_behaviour_08_reasoning_round_trips(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """As content, as a summary, and sealed for a client that sends nothing else back."""
    turn = TURNS["text-and-calls"]
    asked: Any = (
        {},
        {"reasoning": {"summary": "auto"}},
        {"include": ["reasoning.encrypted_content"]},
    )
    for is_streaming in (False, True):
        for fields in asked:
            upstream.script = replay(VllmRecorder(), turn)
            if is_streaming:
                async with stateless.responses.stream(**ASK, tools=TOOLS, **fields) as stream:
                    answer: Any = await stream.get_final_response()
            else:
                answer = await stateless.responses.create(**ASK, tools=TOOLS, **fields)
            assert [item.type for item in answer.output] == [
                "reasoning", "message", "function_call", "function_call",
            ]  # fmt: skip
            items = [item.to_dict() for item in answer.output]
            if "include" in fields:
                items[0] = {
                    "type": "reasoning",
                    "summary": [],
                    "encrypted_content": items[0]["encrypted_content"],
                }
            elif "reasoning" in fields:
                assert items[0]["summary"] == [{"type": "summary_text", "text": turn.reasoning}]
            outputs = [
                {"type": "function_call_output", "call_id": call.tool_call_id, "output": "done"}
                for call in turn.calls
            ]
            history = [{"role": "user", "content": "Go."}, *items, *outputs]
            await stateless.responses.create(model="tiny", store=False, input=history)
            sent = upstream.requests[-1].json["messages"]
            assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
            assert sent[1]["reasoning_content"] == turn.reasoning
            assert sent[1]["content"] == turn.text


async def test_reasoning_events_as_content_and_as_summary(
    stateless_gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    kinds = {}
    for name, fields in (("text", {}), ("summary", {"reasoning": {"summary": "auto"}})):
        upstream.script = replay(VllmRecorder(), TURNS["reasoned"])
        events = await stream_events(client, stateless_gateway, **fields)
        kinds[name] = [kind for kind, data in events if data.get("output_index") == 0]
    assert kinds["text"] == [
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_text.delta",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    assert kinds["summary"] == [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
    ]


async def test_behaviour_02_tool_arguments_arrive_as_deltas_even_from_one_chunk(
    stateless_gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = replay(VllmRecorder(), ONE_CALL, form="whole calls")
    events = await stream_events(client, stateless_gateway, tools=TOOLS)
    of_call = [(name, data) for name, data in events if data.get("output_index") == 0]
    assert [name for name, _ in of_call] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    assert of_call[0][1]["item"]["arguments"] == ""
    arguments = of_call[2][1]["arguments"]
    assert of_call[1][1]["delta"] == arguments == of_call[3][1]["item"]["arguments"]
    assert json.loads(arguments) == {"gate": "north"}


async def test_behaviour_05_text_and_parallel_calls_in_one_chunk_lose_nothing(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    calls = [
        {"index": index, "id": f"c{index}", "function": {"name": "open_gate", "arguments": "{"}}
        for index in (0, 1)
    ]
    # The ends of the arguments come in the other order.
    ends = [{"index": index, "function": {"arguments": f'"g": {index}}}'}} for index in (1, 0)]
    upstream.script = stream_script(
        (
            chunk({"role": "assistant", "content": "Both.", "tool_calls": calls}),
            *(chunk({"tool_calls": [end]}) for end in ends),
            chunk({}, finish_reason="tool_calls"),
            DONE_EVENT,
        )
    )
    async with stateless.responses.stream(**ASK, tools=TOOLS) as stream:
        response = await stream.get_final_response()
    assert summarise(list(response.output)) == [
        ("message", "Both."),
        ("c0", "open_gate", {"g": 0}),
        ("c1", "open_gate", {"g": 1}),
    ]


async def test_behaviour_07_usage_is_asked_and_odd_chunks_are_survived(
    stateless_gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    odd = (
        b": keep-alive\n\n",
        b"data: {}\n\n",
        b'data: {"choices": null}\n\n',
        b'data: {"choices": [{"index": 0}]}\n\n',
        b"data: no json\n\n",
        chunk({}, choices=[]),
        chunk({"content": None, "tool_calls": None}),
    )
    upstream.script = stream_script((*odd, *STREAM[:4], chunk({}, choices=[], usage=usage)))
    events = await stream_events(client, stateless_gateway)
    assert upstream.requests[-1].json["stream_options"] == {"include_usage": True}
    response = events[-1][1]["response"]
    assert response["output"][0]["content"][0]["text"] == "Hello."
    assert response["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 11,
    }
    # Without usage the answer is whole all the same.
    upstream.script = stream_script((*STREAM[:4], DONE_EVENT))
    events = await stream_events(client, stateless_gateway)
    assert events[-1][0] == "response.completed"
    assert events[-1][1]["response"]["usage"] is None


async def test_structured_output_is_parsed_by_the_sdk(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script = replay(VllmRecorder(), STRUCTURED)
    parsed = await stateless.responses.parse(**ASK, text_format=GateReading)
    assert parsed.output_parsed == GateReading(gate="north", metres=2.5)
    sent = upstream.requests[-1].json["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert set(sent["schema"]["properties"]) == {"gate", "metres"}
    async with stateless.responses.stream(**ASK, text_format=GateReading) as stream:
        final = await stream.get_final_response()
    assert final.output_parsed == GateReading(gate="north", metres=2.5)


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_an_answer_that_was_cut_is_incomplete(
    stateless_gateway: RunningGateway,
    stateless: AsyncOpenAI,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    is_streaming: bool,
) -> None:
    upstream.script = replay(VllmRecorder(), TURNS["cut"])
    if is_streaming:
        name, data = (await stream_events(client, stateless_gateway))[-1]
        assert name == "response.incomplete"
        response = data["response"]
    else:
        response = (await stateless.responses.create(**ASK)).to_dict()
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"


async def test_refusals_and_log_probabilities(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    refused = {"role": "assistant", "content": None, "refusal": "I will not."}
    upstream.script = lambda _: answer_json(
        {**COMPLETION, "choices": [{"index": 0, "message": refused, "finish_reason": "stop"}]}
    )
    whole = await stateless.responses.create(**ASK)
    assert whole.output[0].to_dict()["content"] == [{"type": "refusal", "refusal": "I will not."}]
    parts = (chunk({"refusal": "I will "}), chunk({"refusal": "not."}, finish_reason="stop"))
    upstream.script = stream_script((*parts, DONE_EVENT))
    async with stateless.responses.stream(**ASK) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert final.output[0].to_dict()["content"] == [{"type": "refusal", "refusal": "I will not."}]
    assert kinds.count("response.refusal.delta") == 2
    assert kinds.count("response.refusal.done") == 1

    logprob = {
        "token": "Hi",
        "logprob": -0.5,
        "bytes": [72, 105],
        "top_logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}],
    }
    choice = {"index": 0, "delta": {"content": "Hi"}, "logprobs": {"content": [logprob]}}
    upstream.script = stream_script((chunk({}, choices=[choice]), *STREAM[3:]))
    async with stateless.responses.stream(
        **ASK, include=["message.output_text.logprobs"], top_logprobs=1
    ) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    sent = upstream.requests[-1].json
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 1)
    [delta] = [event for event in events if event.type == "response.output_text.delta"]
    assert delta.logprobs[0].to_dict() == {
        "token": "Hi",
        "logprob": -0.5,
        "top_logprobs": [{"token": "Hi", "logprob": -0.5}],
    }
    assert final.output[0].to_dict()["content"][0]["logprobs"] == [logprob]


async def test_custom_tools_take_and_give_free_text(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """As functions with one argument: chat completions of local servers have no other."""
    call = {"index": 0, "id": "c1", "function": {"name": "patch", "arguments": '{"input": "a\\n'}}
    end = {"index": 0, "function": {"arguments": 'b"}'}}
    upstream.script = stream_script(
        (
            chunk({"tool_calls": [call]}),
            chunk({"tool_calls": [end]}, finish_reason="tool_calls"),
            DONE_EVENT,
        )
    )
    tools: Any = [
        {
            "type": "custom",
            "name": "patch",
            "description": "Change files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
        }
    ]
    async with stateless.responses.stream(**ASK, tools=tools) as stream:
        final = await stream.get_final_response()
    [item] = final.output
    assert item.type == "custom_tool_call"
    assert (item.call_id, item.name, item.input) == ("c1", "patch", "a\nb")
    [sent] = upstream.requests[-1].json["tools"]
    assert "start: /.+/" in sent["function"]["description"]
    output = {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"}
    history: Any = [{"role": "user", "content": "Go."}, item.to_dict(), output]
    upstream.script = lambda _: answer_json(COMPLETION)
    await stateless.responses.create(model="tiny", store=False, input=history, tools=tools)
    messages = upstream.requests[-1].json["messages"]
    assert json.loads(messages[1]["tool_calls"][0]["function"]["arguments"]) == {"input": "a\nb"}
    assert messages[2] == {"role": "tool", "tool_call_id": "c1", "content": "ok"}


async def test_a_stream_is_a_stream_where_the_backend_does_not_stream(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda _: answer_json(COMPLETION)
    async with stateless.responses.stream(**ASK) as stream:
        final = await stream.get_final_response()
    assert final.output_text == "Hello."


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_behaviour_01_a_disconnect_closes_the_upstream_request(
    stateless_gateway: RunningGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    is_streaming: bool,
) -> None:
    upstream.script = stream_script(STREAM[:2], wait_at_end=True)
    body = {**ASK, "stream": is_streaming}
    request = asyncio.ensure_future(client.post(stateless_gateway.url + RESPONSES, json=body))
    async with asyncio.timeout(20):
        while not upstream.requests:
            await asyncio.sleep(0.01)
        if is_streaming:
            response = await request
            received = b""
            while b"Hel" not in received:
                received += await response.content.readany()
            response.close()
        else:
            request.cancel()
        await upstream.was_cut.wait()


@pytest.mark.parametrize("fault", ["broken", "error chunk"])
async def test_behaviour_11_a_failure_in_mid_stream_ends_with_response_failed(
    stateless_gateway: RunningGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    fault: str,
) -> None:
    if fault == "broken":
        upstream.script = stream_script(STREAM[:2], breaks_off=True)
    else:
        error = {"error": {"message": "out of memory", "type": "server_error", "code": 500}}
        upstream.script = stream_script(
            (*STREAM[:2], f"data: {json.dumps(error)}\n\n".encode(), DONE_EVENT)
        )
    events = await stream_events(client, stateless_gateway)
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    name, data = events[-1]
    assert name == "response.failed"
    assert [kind for kind, _ in events].count("response.completed") == 0
    response = data["response"]
    assert response["status"] == "failed"
    assert response["error"]["code"] == "server_error"
    expected_words = "broke off" if fault == "broken" else "out of memory"
    assert expected_words in response["error"]["message"]
    assert response["output"][0]["content"][0]["text"] == "Hel"


async def test_behaviour_12_nothing_is_sent_before_the_first_upstream_byte(
    start_gateway: StartGateway, upstream: ScriptedUpstream
) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.sleep(60)
        return response

    upstream.script = silent
    gateway = start_gateway(backend_of(upstream, first_byte_timeout_seconds=0.3))
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as sdk:
        for is_streaming in (False, True):
            with pytest.raises(openai.InternalServerError) as failure:
                await sdk.responses.create(**ASK, stream=is_streaming)
            assert failure.value.status_code == 504
            assert failure.value.code == "backend_timeout"


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_behaviour_10_credentials_stay_and_the_backends_refusal_comes_back(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream, is_streaming: bool
) -> None:
    refusal = {"error": {"message": "slow down", "type": "rate_limit", "param": None, "code": 1}}
    upstream.script = lambda _: answer_json(refusal, status=429, headers={"Retry-After": "7"})
    with pytest.raises(openai.RateLimitError) as failure:
        await stateless.responses.create(**ASK, stream=is_streaming)
    assert failure.value.response.headers["retry-after"] == "7"
    assert "slow down" in failure.value.message
    assert "Authorization" not in upstream.requests[-1].headers


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_behaviour_13_a_stateless_call_needs_no_database(
    stateless: AsyncOpenAI, upstream: ScriptedUpstream, is_streaming: bool
) -> None:
    """There is none here: a call that is to be stored says so, this one is answered."""
    upstream.script = replay(VllmRecorder(), PLAIN)
    if is_streaming:
        async with stateless.responses.stream(**ASK) as stream:
            assert (await stream.get_final_response()).output_text == PLAIN.text
    else:
        assert (await stateless.responses.create(**ASK)).output_text == PLAIN.text
    count = len(upstream.requests)
    with pytest.raises(openai.InternalServerError) as failure:
        await stateless.responses.create(**{**ASK, "store": True}, stream=is_streaming)
    assert (failure.value.status_code, failure.value.code) == (503, "store_unavailable")
    assert len(upstream.requests) == count, "the model worked for nothing"


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"background": True}, "background", "background"),
        ({"conversation": "conv_1"}, "conversation", "previous_response_id"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "templates"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "'web_search'"),
        ({"tools": [{"type": "function"}]}, "tools[0]", "name"),
        ({"tool_choice": {"type": "function", "name": "no"}}, "tool_choice", "'no'"),
        ({"include": ["everything"]}, "include", "'everything'"),
        ({"truncation": "always"}, "truncation", "always"),
        ({"metadata": {"a": 1}}, "metadata[...]", "str"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "Missing"),
        ({"input": []}, "input", "empty"),
        ({"input": 7}, "input", "int"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type", "'computer_call'"),
        ({"input": [{"role": "user"}]}, "input[0]", "content"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0]",
            "text",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c9", "output": ""}]},
            "input",
            "No tool call found for function call output with call_id c9.",
        ),
        (
            {
                "input": [
                    {"type": "function_call", "call_id": "c9", "name": "f", "arguments": "{}"},
                    {"role": "user", "content": "Well?"},
                ]
            },
            "input",
            "No tool output found for function call c9.",
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_clearly(
    stateless_gateway: RunningGateway,
    client: aiohttp.ClientSession,
    fields: dict[str, Any],
    param: str,
    words: str,
) -> None:
    async with client.post(stateless_gateway.url + RESPONSES, json={**ASK, **fields}) as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert words in error["message"]
