"""The user's question in a conversation."""

from typing import Any

import pytest

from knowledge.queries import extract_user_query


@pytest.mark.parametrize(
    ("messages", "query"),
    [
        ([], ""),
        ([{"role": "system", "content": "Be brief."}], ""),
        ([{"role": "user", "content": "  What is a sluice?\n"}], "What is a sluice?"),
        (
            [
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "answer"},
                {"role": "user", "content": "second"},
                {"role": "assistant", "content": None, "tool_calls": []},
                {"role": "tool", "content": "42", "tool_call_id": "call_1"},
            ],
            "second",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is on"},
                        {"type": "image_url", "image_url": {"url": "data:,"}},
                        {"type": "input_text", "text": "this picture?"},
                    ],
                }
            ],
            "What is on\nthis picture?",
        ),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], ""),
        ([{"role": "user", "content": None}], ""),
        ([{"role": "user", "content": [{"type": "text", "text": None}, 7]}], ""),
    ],
)
def test_the_last_user_message_is_the_query(messages: list[dict[str, Any]], query: str) -> None:
    assert extract_user_query(messages) == query
