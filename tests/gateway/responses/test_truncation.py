"""`truncation: "auto"`: the oldest turns of a long conversation are left away, and nothing else."""

from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError

from gateway.responses.truncation import drop_oldest_turns
from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.responses.conftest import sdk_of
from tests.gateway.scripted_upstream import ScriptedUpstream

LONG = "The lock keeper writes down the level of the water at each gate. " * 40
CONVERSATION: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": f"first {LONG}"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]},
    {"role": "tool", "tool_call_id": "a", "content": LONG},
    {"role": "assistant", "content": "One."},
    {"role": "user", "content": "second"},
    {"role": "assistant", "content": "Two."},
    {"role": "user", "content": "third"},
]


@pytest.mark.parametrize(
    ("token_limit", "left"),
    [
        (10_000, CONVERSATION),
        (300, [CONVERSATION[0], *CONVERSATION[5:]]),
        (1, [CONVERSATION[0], CONVERSATION[7]]),
    ],
)
def test_turns_go_whole_and_the_last_one_stays(token_limit: int, left: list[Any]) -> None:
    assert drop_oldest_turns(CONVERSATION, token_limit=token_limit) == left


def test_definitions_of_tools_take_room_too() -> None:
    assert drop_oldest_turns(CONVERSATION, token_limit=3000, tools=LONG * 4)[1:] == CONVERSATION[5:]


async def test_a_stored_conversation_goes_on_without_its_beginning(
    start_gateway: StartGateway, upstream: ScriptedUpstream, database_url: str
) -> None:
    gateway = start_gateway(backend_of(upstream, context_length=512), database_url=database_url)
    async with sdk_of(gateway) as client:
        first = await client.responses.create(model="tiny", input=f"first {LONG}")
        options: Any = {"previous_response_id": first.id, "instructions": "Be brief."}

        second = await client.responses.create(
            model="tiny", input="second", truncation="auto", **options
        )
        await client.responses.create(model="tiny", input="second", **options)

    assert second.truncation == "auto"
    truncated, whole = (sent.json["messages"] for sent in upstream.requests[1:])
    assert [each["content"] for each in truncated] == ["Be brief.", "second"]
    assert len(whole) == 4


async def test_an_unknown_way_to_truncate_is_refused(stateless: AsyncOpenAI) -> None:
    options: Any = {"truncation": "middle"}
    with pytest.raises(BadRequestError, match="truncation"):
        await stateless.responses.create(model="tiny", input="hello", store=False, **options)
