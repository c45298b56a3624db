"""Context composed from passages and injected into a conversation."""

import copy
from dataclasses import replace
from typing import Any

from knowledge.composition import ComposedContext, best_score, compose_context, inject_context
from knowledge.tokens import estimate_tokens
from tests.knowledge.passages import make_passage

GATES = make_passage(
    "A sluice gate controls the flow of water in a channel.",
    chunk_id="gates",
    heading_path=("Gates", "Vertical"),
)
LOCKS = make_passage(
    "A lock raises and lowers boats between two stretches of a canal.",
    chunk_id="locks",
    source="locks.md",
)


def _composed() -> ComposedContext:
    context = compose_context([GATES, LOCKS], token_budget=500)
    assert context is not None
    return context


def test_sources_are_numbered_with_their_place() -> None:
    context = _composed()

    assert [(s.number, s.chunk_id, s.score) for s in context.sources] == [
        (1, "gates", 1.5),
        (2, "locks", 1.5),
    ]
    assert context.chunk_ids == ("gates", "locks")
    assert "[1] Handbook › Gates › Vertical (handbook.md)\nA sluice gate" in context.text  # noqa: RUF001
    assert "[2] Handbook (locks.md)\nA lock raises" in context.text


def test_the_score_is_that_of_the_last_stage_that_says_how_well_it_fits() -> None:
    hybrid = replace(GATES, vector_score=0.5, fused_score=0.03)
    assert best_score(GATES) == 1.5
    assert best_score(hybrid) == 0.5
    assert best_score(replace(hybrid, maxsim_score=0.0)) == 0.0
    assert best_score(replace(GATES, text_score=None)) is None


def test_the_whole_text_keeps_to_the_budget() -> None:
    passages = [
        make_passage(f"Passage {i} about topic {i}, " + f"word{i} " * (i * 20), chunk_id=str(i))
        for i in range(1, 12)
    ]
    for budget in (150, 300, 1000):
        context = compose_context(passages, token_budget=budget)
        assert context is not None
        assert context.token_count == estimate_tokens(context.text) <= budget
        assert {*context.chunk_ids, *context.dropped_chunk_ids} == {p.chunk_id for p in passages}


def test_a_passage_too_large_makes_way_for_a_smaller_one() -> None:
    large = make_passage("flood " * 1000, chunk_id="large")
    context = compose_context([large, LOCKS], token_budget=200)
    assert context is not None
    assert context.chunk_ids == ("locks",)
    assert context.sources[0].number == 1
    assert context.dropped_chunk_ids == ("large",)


def test_near_duplicates_are_dropped() -> None:
    copy_of_gates = make_passage(GATES.content + " Indeed.", chunk_id="copy")
    context = compose_context([GATES, copy_of_gates, LOCKS], token_budget=500)
    assert context is not None
    assert context.chunk_ids == ("gates", "locks")
    assert context.dropped_chunk_ids == ("copy",)


def test_nothing_to_show_is_none() -> None:
    assert compose_context([], token_budget=500) is None
    assert compose_context([GATES], token_budget=10) is None


def test_only_the_last_user_turn_is_appended_to() -> None:
    context = _composed()
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "What is a sluice?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1"}]},
        {"role": "tool", "content": "42", "tool_call_id": "call_1"},
    ]
    before = copy.deepcopy(messages)

    injected = inject_context(messages, context)

    assert messages == before
    assert injected[3]["content"] == f"What is a sluice?\n\n{context.text}"
    assert injected[:3] == before[:3]
    assert injected[4:] == before[4:]


def test_content_parts_get_one_more_part() -> None:
    context = _composed()
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What?"}, picture]}]
    before = copy.deepcopy(messages)

    injected = inject_context(messages, context)

    assert messages == before
    assert injected[0]["content"] == [
        *before[0]["content"],
        {"type": "text", "text": context.text},
    ]


def test_a_conversation_without_a_user_stays() -> None:
    messages = [{"role": "system", "content": "Be brief."}]
    assert inject_context(messages, _composed()) == messages
