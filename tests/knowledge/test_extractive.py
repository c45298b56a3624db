"""Answers of the built-in model."""

from knowledge.extractive import (
    MAX_QUOTED_PASSAGES,
    compose_extractive_answer,
    select_quotations,
)
from tests.knowledge.passages import make_passage


def test_passages_are_quoted_word_for_word() -> None:
    code = make_passage(
        "Open it:\n\n```python\nwith open(path) as file:\n    pass\n```",
        heading_path=("Files",),
        source="docs/files.md",
    )
    other = make_passage("A lock raises boats.", source="docs/locks.md", title="Locks")

    answer = compose_extractive_answer("how to open?", [code, other])

    first_line = answer.split("\n", 1)[0]
    assert "No language model is configured" in first_line
    assert "verbatim" in first_line
    assert code.content in answer
    assert other.content in answer
    assert "**[1] Handbook › Files**" in answer  # noqa: RUF001
    assert "[1] docs/files.md" in answer
    assert "[2] docs/locks.md" in answer


def test_only_the_best_are_quoted_and_none_twice() -> None:
    passages = [make_passage(f"Passage number {i} on subject{i}.") for i in range(8)]
    passages.insert(1, passages[0])

    quoted = select_quotations(passages)
    answer = compose_extractive_answer("subject", quoted)

    assert quoted == [passages[0], passages[2], passages[3]]
    assert answer.count("Passage number 0") == 1
    assert answer.count("Passage number") == MAX_QUOTED_PASSAGES


def test_without_passages_it_says_what_to_do() -> None:
    answer = compose_extractive_answer("What is\na sluice?", [])
    assert answer.startswith("No language model is configured")
    assert "“What is a sluice?”" in answer
    assert "`sluice ingest PATH`" in answer
    assert "`[[backends]]`" in answer
    assert "sluice.toml" in answer


def test_a_message_without_text_is_no_question() -> None:
    assert "holds no text" in compose_extractive_answer("  ", [])


def test_a_long_question_is_shortened() -> None:
    assert len(compose_extractive_answer("why " * 10_000, [])) < 1000
