"""What of a model's context retrieval may take."""

from typing import Any

import pytest

from knowledge.prompt_budget import estimate_prompt_tokens, find_context_budget
from knowledge.tokens import estimate_tokens

PARAGRAPH = "A sluice gate controls the flow of water in a channel, e.g. at a mill (see 4.2).\n"


@pytest.mark.parametrize(
    ("context_length", "prompt_tokens", "answer_tokens", "expected"),
    [
        (8192, 100, None, 2000),
        (4096, 1500, 1000, 1596),
        (4096, 2500, None, 572),
        (1024, 600, None, 168),
        (4096, 4000, 500, 0),
        (4096, 100, 9000, 0),
    ],
)
def test_prompt_and_answer_come_first(
    context_length: int, prompt_tokens: int, answer_tokens: int | None, expected: int
) -> None:
    budget = find_context_budget(
        limit=2000,
        context_length=context_length,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
    )
    assert budget == expected


def test_all_texts_of_a_conversation_count() -> None:
    question = {"role": "user", "content": PARAGRAPH}
    parts = {"role": "user", "content": [{"type": "text", "text": PARAGRAPH}]}
    one = estimate_prompt_tokens([question])
    assert one > estimate_tokens(PARAGRAPH)
    assert estimate_prompt_tokens([parts]) == one
    assert estimate_prompt_tokens([question, parts]) == 2 * one
    assert estimate_prompt_tokens([question], tools=PARAGRAPH) == one + estimate_tokens(PARAGRAPH)
    call = {"id": "c", "function": {"name": "open_gate", "arguments": '{"gate": 3}'}}
    answer: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert estimate_prompt_tokens([answer]) > 10


def test_an_image_counts_as_one_and_not_by_its_bytes() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 500_000}}
    message = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}
    assert 500 < estimate_prompt_tokens([message]) < 2000


def test_a_long_text_is_estimated_by_samples() -> None:
    text = PARAGRAPH * 5000 + "{}[]();" * 20_000
    estimate = estimate_prompt_tokens([{"role": "user", "content": text}])
    assert estimate == pytest.approx(estimate_tokens(text), rel=0.2)
