"""Chunks follow the structure, keep every word and stay within their size."""

import random
import re
from collections import Counter
from itertools import pairwise

import pytest

from knowledge.chunking import chunk_document
from knowledge.documents import Document
from knowledge.loaders.content import Block, BlockKind
from knowledge.loaders.tables import format_table
from knowledge.tokens import estimate_tokens
from tests.knowledge.passages import heading, make_document, paragraph

WORD = re.compile(r"\w+")


def _sentences(count: int, words: int = 9) -> str:
    return " ".join(
        " ".join([f"Sentence{i}", *(f"w{i}x{j}" for j in range(words))]) + "." for i in range(count)
    )


def test_each_section_has_its_chunks_and_its_path() -> None:
    document = make_document(
        heading("Handbook"),
        paragraph("Intro."),
        heading("Gates", 2),
        heading("Vertical", 3),
        paragraph("Up and down."),
        Block("code", "gate.open()", language="python"),
        heading("Locks", 2),
        paragraph("Boats."),
    )
    chunks = chunk_document(document)
    assert [(c.position, c.heading_path, c.content) for c in chunks] == [
        (0, (), "Intro."),
        (1, ("Gates", "Vertical"), "Up and down.\n\n```python\ngate.open()\n```"),
        (2, ("Locks",), "Boats."),
    ]
    assert all(c.token_estimate == estimate_tokens(c.content) for c in chunks)


def test_headings_of_nothing_are_content() -> None:
    document = make_document(
        heading("Handbook"),
        heading("Empty", 2),
        heading("Full", 2),
        paragraph("Text."),
        heading("Last", 2),
    )
    assert [(c.heading_path, c.content) for c in chunk_document(document)] == [
        ((), "Empty"),
        (("Full",), "Text."),
        ((), "Last"),
    ]


def test_a_document_of_a_title_is_its_title() -> None:
    assert [c.content for c in chunk_document(make_document(heading("Handbook")))] == ["Handbook"]
    assert chunk_document(make_document()) == []


def test_a_heading_as_long_as_a_chapter_is_none() -> None:
    text = "word " * 2000
    chunks = chunk_document(make_document(heading(text.strip()), paragraph("Text.")))
    assert {c.heading_path for c in chunks} == {()}
    assert sum(c.content.count("word") for c in chunks) >= 2000


def test_prose_is_split_between_sentences_with_overlap() -> None:
    chunks = chunk_document(
        make_document(paragraph(_sentences(60))), max_tokens=200, overlap_tokens=60
    )
    assert len(chunks) > 3
    for before, after in pairwise(chunks):
        assert after.content.startswith("Sentence")
        assert before.content.endswith(".")
        first_sentence = after.content.split(". ")[0]
        assert first_sentence in before.content


def test_no_overlap_where_none_is_wanted() -> None:
    text = _sentences(60)
    chunks = chunk_document(make_document(paragraph(text)), max_tokens=200, overlap_tokens=0)
    assert " ".join(c.content for c in chunks) == text


def test_abbreviations_and_numbers_do_not_end_sentences() -> None:
    text = "Use it, e.g. Python 3.11, for Dr. Who. " * 30
    chunks = chunk_document(make_document(paragraph(text.strip())), max_tokens=64, overlap_tokens=0)
    assert all(c.content.endswith("Dr. Who.") for c in chunks)


def test_code_that_fits_is_whole_and_a_longer_one_is_split_at_lines() -> None:
    lines = [f"    value_{i} = compute({i})" for i in range(200)]
    chunks = chunk_document(
        make_document(paragraph("See:"), Block("code", "\n".join(lines), language="python")),
        max_tokens=200,
    )
    parts = [re.fullmatch(r"(?:See:\n\n)?```python\n(.*)\n```", c.content, re.S) for c in chunks]
    assert all(parts)
    assert "\n".join(part[1] for part in parts if part).split("\n") == lines


def test_a_fence_is_longer_than_those_within() -> None:
    code = "````\n```python\nx\n```\n````"
    chunks = chunk_document(make_document(Block("code", code, language="markdown")))
    assert chunks[0].content == f"`````markdown\n{code}\n`````"


def test_a_huge_table_repeats_its_header() -> None:
    rows = [["Key", "Value"], *([f"key {i}", f"value {i}"] for i in range(3000))]
    chunks = chunk_document(make_document(Block("table", format_table(rows, has_header=True))))
    assert len(chunks) > 50
    assert all(c.content.startswith("| Key | Value |\n| --- | --- |\n| key") for c in chunks)
    body = [row for c in chunks for row in c.content.split("\n")[2:]]
    assert body == [f"| key {i} | value {i} |" for i in range(3000)]


def test_a_long_list_is_split_between_items() -> None:
    items = [f"- Item {i}:\n  more of it\n  - inner {i}" for i in range(100)]
    chunks = chunk_document(make_document(Block("list", "\n".join(items))), max_tokens=100)
    assert all(c.content.startswith("- Item") for c in chunks)
    assert "\n".join(c.content for c in chunks) == "\n".join(items)


@pytest.mark.parametrize("kind", ["paragraph", "code", "table", "list"])
@pytest.mark.parametrize("run", ["a" * 50_000, "/" * 50_000, "水" * 20_000, "é" * 20_000])
def test_an_unbroken_run_is_cut_hard(kind: BlockKind, run: str) -> None:
    chunks = chunk_document(make_document(Block(kind, run)), max_tokens=100)
    assert all(0 < c.token_estimate <= 100 for c in chunks)
    assert sum(c.content.count(run[0]) for c in chunks) == len(run)


@pytest.mark.parametrize(("max_tokens", "overlap_tokens"), [(31, 0), (0, 0), (100, 51), (100, -1)])
def test_sizes_that_make_no_sense_are_refused(max_tokens: int, overlap_tokens: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        chunk_document(make_document(), max_tokens=max_tokens, overlap_tokens=overlap_tokens)


def _random_document(generator: random.Random) -> Document:
    alphabet = [
        "gate",
        "Lock.",
        "e.g.",
        "水門。",
        "x" * 70,
        "{}",
        "`",
        "```",
        "|",
        "-",
        "über",
        "1.",
    ]
    blocks: list[Block] = []
    for _ in range(generator.randint(1, 40)):
        kind: BlockKind = generator.choice(["heading", "paragraph", "code", "table", "list"])
        words = generator.choices(alphabet, k=generator.choice([1, 3, 30, 300]))
        separators = generator.choices([" ", "  ", "\n", "\n\n", "\n    "], [8, 1, 2, 1, 1], k=300)
        text = "".join(a + b for a, b in zip(words, separators, strict=False)).strip()
        if kind == "heading":
            text = " ".join(text.split())
        if kind == "table":
            rows = [[word.replace("\n", " "), "cell"] for word in words]
            text = format_table(rows, has_header=generator.random() < 0.5)
        blocks.append(Block(kind, text, level=generator.randint(1, 4), language="python"))
    return make_document(*blocks)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_document_no_word_is_lost_and_no_chunk_too_large(seed: int) -> None:
    generator = random.Random(seed)
    document = _random_document(generator)
    max_tokens = generator.choice([32, 50, 400])
    chunks = chunk_document(document, max_tokens=max_tokens, overlap_tokens=16)

    assert [c.position for c in chunks] == list(range(len(chunks)))
    assert all(c.content.strip() for c in chunks)
    assert all(c.token_estimate <= max_tokens for c in chunks)
    written = Counter[str]()
    for block in document.blocks:
        if block.kind != "heading":
            written.update(WORD.findall(block.text.replace("x" * 70, "")))
    chunked = Counter[str]()
    for chunk in chunks:
        chunked.update(WORD.findall(re.sub("x+", "", chunk.content)))
    assert not written - chunked
    headings = " ".join(block.text for block in document.blocks if block.kind == "heading")
    places = "\n".join("\n".join((*c.heading_path, c.content)) for c in chunks)
    assert {*WORD.findall(re.sub("x+", "", headings))} <= {
        *WORD.findall(re.sub("x+", "", f"{document.title} {places}"))
    }
