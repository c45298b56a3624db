"""A Messages request as a chat completion request."""

import json
from typing import Any

import pytest

from gateway.anthropic.requests import read_messages_request
from gateway.anthropic.to_chat import chat_request_of
from gateway.errors import InvalidRequest

CACHED = {"cache_control": {"type": "ephemeral"}}


def translate(**fields: Any) -> dict[str, Any]:
    body = {"model": "tiny", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}
    request = read_messages_request(json.dumps({**body, **fields}).encode())
    translated: dict[str, Any] = json.loads(chat_request_of(request).forwarded_body())
    return translated


def translate_turns(*turns: tuple[str, Any]) -> list[dict[str, Any]]:
    messages = [{"role": role, "content": content} for role, content in turns]
    translated: list[dict[str, Any]] = translate(messages=messages)["messages"]
    return translated


def test_parameters() -> None:
    translated = translate(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        stop_sequences=["END"],
        metadata={"user_id": "u-1"},
        service_tier="auto",
        stream=True,
        output_config={"effort": "max"},
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    assert translated == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 8,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "stop": ["END"],
        "user": "u-1",
        "stream": True,
        "stream_options": {"include_usage": True},
        "reasoning_effort": "high",
        "chat_template_kwargs": {"enable_thinking": True},
    }


def test_the_same_request_in_a_stream_and_not_has_the_same_prompt() -> None:
    whole, streamed = translate(system="Be brief."), translate(system="Be brief.", stream=True)
    assert {**whole, "stream": True, "stream_options": {"include_usage": True}} == streamed


@pytest.mark.parametrize(
    "system",
    [
        "Be brief.\n\nBe kind.",
        [{"type": "text", "text": "Be brief.", **CACHED}, {"type": "text", "text": "Be kind."}],
        [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=f00;"},
            {"type": "text", "text": "Be brief.\n\nBe kind."},
        ],
    ],
)
def test_system_prompts(system: Any) -> None:
    messages = translate(system=system)["messages"]
    assert messages[0] == {"role": "system", "content": "Be brief.\n\nBe kind."}


def test_text_images_and_documents() -> None:
    png = {"type": "base64", "media_type": "image/png", "data": "iVBO"}
    document = {"type": "text", "media_type": "text/plain", "data": "It opens at 4 m."}
    pieces = {"type": "content", "content": [{"type": "text", "text": "piece"}]}
    found = [{"type": "text", "text": "found"}]
    (message,) = translate_turns(
        (
            "user",
            [
                {"type": "image", "source": png, **CACHED},
                {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                {"type": "document", "source": document, "title": "Weir"},
                {"type": "document", "source": pieces},
                {"type": "search_result", "source": "u", "title": "t", "content": found},
                {"type": "text", "text": "What is it?"},
            ],
        )
    )
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "text", "text": "Weir\n\nIt opens at 4 m."},
        {"type": "text", "text": "piece"},
        {"type": "text", "text": "t (u)\n\nfound"},
        {"type": "text", "text": "What is it?"},
    ]


def test_one_text_block_is_a_plain_string() -> None:
    block = {"type": "text", "text": "hi", **CACHED}
    assert translate_turns(("user", [block])) == [{"role": "user", "content": "hi"}]


def test_behaviour_8_reasoning_and_calls_of_earlier_turns() -> None:
    image = {"type": "base64", "media_type": "image/png", "data": "iVBO"}
    result = [{"type": "text", "text": "3"}, {"type": "image", "source": image}]
    messages = translate_turns(
        ("user", "add"),
        (
            "assistant",
            [
                {"type": "thinking", "thinking": "I must add.", "signature": "s"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a", "name": "add", "input": {"x": [1, 2.50]}},
                {"type": "tool_use", "id": "b", "name": "sub", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "a", "content": result},
                {
                    "type": "tool_result",
                    "tool_use_id": "b",
                    "content": "no such tool",
                    "is_error": True,
                },
                {"type": "tool_result", "tool_use_id": "c"},
                {"type": "text", "text": "Go on."},
            ],
        ),
    )
    assert messages[1] == {
        "role": "assistant",
        "content": "Let me see.",
        "reasoning_content": "I must add.",
        "tool_calls": [
            {
                "id": "a",
                "type": "function",
                "function": {"name": "add", "arguments": '{"x":[1, 2.5]}'},
            },
            {"id": "b", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
        ],
    }
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "a", "content": "3"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: no such tool"},
        {"role": "tool", "tool_call_id": "c", "content": ""},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Images in the result of a:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
                {"type": "text", "text": "Go on."},
            ],
        },
    ]


def test_a_call_without_text_has_no_content() -> None:
    call = {"type": "tool_use", "id": "a", "name": "add", "input": {}}
    assert translate_turns(("user", "add"), ("assistant", [call]))[1]["content"] is None


def _turn(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}, **CACHED}


@pytest.mark.parametrize(
    ("choice", "translated"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "add", "disable_parallel_tool_use": True},
            {
                "tool_choice": {"type": "function", "function": {"name": "add"}},
                "parallel_tool_calls": False,
            },
        ),
    ],
)
def test_tools_and_their_choice(choice: dict[str, Any], translated: dict[str, Any]) -> None:
    request = translate(tools=[TOOL], tool_choice=choice)
    assert {name: request[name] for name in translated} == translated
    function = {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}
    assert request["tools"] == [{"type": "function", "function": function}]


def test_structured_output() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "number"}}}
    request = translate(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert request["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        ({"system": 7}, "system"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [{"name": "add"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "x", "type": "web_search_20250305"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers"),
        ({"retrieval": {"top_k": 0}}, "retrieval.top_k"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        translate(**fields)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
        },
        {"type": "tool_use", "id": "a", "name": "b", "input": {}},
    ],
)
def test_blocks_without_a_translation_are_refused(block: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        translate_turns(("assistant", "hm"), ("user", [block]))
    assert refusal.value.param == "messages[1].content"
