"""Plain text and reStructuredText to blocks."""

from knowledge.loaders.content import Block
from knowledge.loaders.plain_text import read_plain_text


def test_blank_lines_part_paragraphs() -> None:
    content = read_plain_text("\nOne,\n  two.\n \t\n\nThree.\n")
    assert content.title is None
    assert content.blocks == (Block("paragraph", "One,\n  two."), Block("paragraph", "Three."))


def test_underlines_make_headings_by_order_of_appearance() -> None:
    content = read_plain_text(
        "=====\nTitle\n=====\n\nIntro.\n\nSection\n-------\nText.\n\nSub\n~~~\n\nOther\n-----\n"
    )
    assert content.title == "Title"
    assert content.blocks == (
        Block("heading", "Title", level=1),
        Block("paragraph", "Intro."),
        Block("heading", "Section", level=2),
        Block("paragraph", "Text."),
        Block("heading", "Sub", level=3),
        Block("heading", "Other", level=2),
    )


def test_rules_and_tables_are_no_headings() -> None:
    content = read_plain_text(
        "=== ===\na   b\n=== ===\n\n----------\n\nA sentence that is long.\n---"
    )
    assert all(block.kind == "paragraph" for block in content.blocks)
