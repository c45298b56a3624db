"""Markdown to blocks."""

from knowledge.loaders.content import Block
from knowledge.loaders.markdown import read_markdown


def test_headings_of_both_kinds_and_their_levels() -> None:
    content = read_markdown("Title `x`\n=====\n\nSub\n---\n\n### Deep **er**\n\nText.\n")
    assert content.title == "Title x"
    assert content.blocks == (
        Block("heading", "Title x", level=1),
        Block("heading", "Sub", level=2),
        Block("heading", "Deep er", level=3),
        Block("paragraph", "Text."),
    )


def test_front_matter_gives_the_title_and_is_no_content() -> None:
    for text in (
        '---\ntitle: "A: title"\ntags: [x]\n---\n\nBody.\n',
        "+++\ntitle = 'A: title'\n+++\nBody.\n",
    ):
        content = read_markdown(text)
        assert content.title == "A: title"
        assert content.blocks == (Block("paragraph", "Body."),)


def test_a_rule_at_the_start_is_no_front_matter() -> None:
    content = read_markdown("---\n\nBody without an end.\n")
    assert content.blocks == (Block("paragraph", "Body without an end."),)


def test_nested_fences_are_one_block_of_code() -> None:
    content = read_markdown(
        "````markdown\n# Not a heading\n```python\nx = 1\n```\n````\n\nAfter.\n"
    )
    assert content.blocks == (
        Block("code", "# Not a heading\n```python\nx = 1\n```", language="markdown"),
        Block("paragraph", "After."),
    )


def test_an_open_fence_runs_to_the_end() -> None:
    content = read_markdown("```sh\nls\n# no heading\n")
    assert content.blocks == (Block("code", "ls\n# no heading", language="sh"),)


def test_lists_keep_their_nesting_and_their_code() -> None:
    source = "1. One\n   - Inner\n\n     ```sh\n     make dev\n     ```\n2. Two"
    content = read_markdown(f"{source}\n\nAfter.\n")
    assert content.blocks == (Block("list", source), Block("paragraph", "After."))


def test_tables_are_rows() -> None:
    content = read_markdown("| Key | Value |\n|:--|--:|\n| a | `x` |\n| b \\| c | |\n")
    assert content.blocks == (
        Block("table", "| Key | Value |\n| --- | --- |\n| a | `x` |\n| b \\| c |  |"),
    )


def test_embedded_html_is_read_as_html() -> None:
    content = read_markdown(
        '<h1 align="center">Sluice</h1>\n\n<!-- hidden -->\n\n<p>Flow &amp; gates</p>\n'
    )
    assert content.title == "Sluice"
    assert content.blocks == (
        Block("heading", "Sluice", level=1),
        Block("paragraph", "Flow & gates"),
    )


def test_quotations_and_indented_code_stay() -> None:
    content = read_markdown("> Quoted.\n> More.\n\n    indented()\n")
    assert content.blocks == (Block("paragraph", "> Quoted.\n> More."), Block("code", "indented()"))
