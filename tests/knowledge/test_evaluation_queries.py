"""Judged questions and known items, resolved against a small corpus on disk."""

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import pytest

from benchmarks.corpora import CORPORA
from knowledge.chunking import chunk_document
from knowledge.documents import load_document
from knowledge.evaluation.corpus import Corpus, CorpusChunk
from knowledge.evaluation.item_texts import is_telling, strip_numbering
from knowledge.evaluation.judged import (
    UnreadableJudgements,
    read_judged_queries,
    resolve_judgements,
)
from knowledge.evaluation.known_items import (
    ItemKind,
    UnknownItemKind,
    make_known_items,
    parse_kinds,
)
from knowledge.evaluation.query_sets import EvaluationQuery, sample_queries

FUNCTOOLS = """
<html><head><title>functools</title></head><body><div role="main" class="body">
<h1>functools — Higher-order functions<a class="headerlink" href="#x">¶</a></h1>
<p>See the <a href="faq.html#caching-results">advice on remembering answers</a>, the
<a href="faq.html#caching-results">Caching the results of methods</a> entry, the
<a href="faq.html">list of questions people ask</a> and
<a href="https://example.org/x">a page that is elsewhere</a>.</p>
<dl class="py function">
<dt class="sig sig-object py" id="functools.wraps">functools.<b>wraps</b>(wrapped)<a
 class="headerlink" href="#functools.wraps">¶</a></dt>
<dd><p>This is a convenience function.</p></dd></dl>
<dl class="py function">
<dt class="sig sig-object py" id="functools.lru_cache">@functools.lru_cache(user_function)</dt>
<dt class="sig sig-object py">@functools.lru_cache(maxsize=128)</dt>
<dd><p>Wraps a function with a memoizing callable.</p></dd></dl>
</div></body></html>
"""
FAQ = """
<html><head><title>FAQ</title></head><body><div role="main" class="body"><h1>FAQ</h1>
<p>Questions that were asked often.</p>
<section id="caching-results"><h2>2.1. Caching the results of methods</h2>
<p>Use <code>lru_cache</code>, as <a href="functools.html#functools.lru_cache">that decorator for
memoizing callables</a> shows.</p>
<section id="limits"><h3>Limits</h3><p>Arguments must be hashable.</p></section></section>
<section id="notes"><h2>Notes</h2><p>None so far.</p></section>
</div></body></html>
"""
GUIDE = """# Guide

Before you walk on the dam, read [how the gates are opened](gates.md#opening-the-heavy-gates).
"""
GATES = """# Gates

Made of oak.

## Opening the heavy gates

Turn the wheel.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "library").mkdir(parents=True)
    (folder / "library" / "functools.html").write_text(FUNCTOOLS)
    (folder / "library" / "faq.html").write_text(FAQ)
    (folder / "guide.md").write_text(GUIDE)
    (folder / "gates.md").write_text(GATES)
    return folder


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    chunks = []
    for file in sorted(folder.rglob("*.*")):
        document = load_document(file, source=str(file))
        for chunk in chunk_document(document):
            chunk_id = UUID(int=len(chunks) + 1)
            chunks.append(
                CorpusChunk(
                    chunk_id, document.source, document.title, chunk.heading_path, chunk.content
                )
            )
    return Corpus("site", chunks)


def _contents(corpus: Corpus, query: EvaluationQuery) -> list[str]:
    return [
        chunk.content
        for chunks in corpus.chunks_of_source.values()
        for chunk in chunks
        if chunk.chunk_id in query.grades
    ]


def _by_text(corpus: Corpus, kind: ItemKind) -> Mapping[str, EvaluationQuery]:
    return {query.text: query for query in make_known_items(corpus, kind).queries}


def _write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "judged.toml"
    file.write_text(text)
    return file


def test_judgements_name_sections_and_phrases(corpus: Corpus, tmp_path: Path) -> None:
    file = _write(
        tmp_path,
        """
        [[query]]
        text = "remember answers"
        relevant = [
          { grade = 3, source = "library/functools.html", phrase = "with a  MEMOIZING callable." },
          { grade = 2, source = "faq.html", heading = "2.1. Caching the results of methods" },
          { grade = 3, source = "faq.html", heading = "Limits", phrase = "hashable" },
        ]
        """,
    )

    resolved = resolve_judgements("judged", read_judged_queries(file), corpus)

    (query,) = resolved.queries
    assert sorted(query.grades.values()) == [2, 3, 3]
    assert not resolved.unresolved
    assert "hashable" in " ".join(_contents(corpus, query))


def test_a_judgement_without_a_passage_is_named(corpus: Corpus, tmp_path: Path) -> None:
    file = _write(
        tmp_path,
        """
        [[query]]
        text = "limits"
        relevant = [
          { grade = 3, source = "faq.html", heading = "Limits" },
          { grade = 3, source = "aq.html", heading = "Limits" },
          { grade = 2, source = "faq.html", phrase = "no such words" },
        ]
        [[query]]
        text = "gone"
        relevant = [
          { grade = 3, source = "gone.html", heading = "Gone" },
          { grade = 1, source = "faq.html", heading = "Limits" },
        ]
        """,
    )

    resolved = resolve_judgements("judged", read_judged_queries(file), corpus)

    assert [query.text for query in resolved.queries] == ["limits"]
    assert len(resolved.unresolved) == 4
    assert "aq.html, heading 'Limits'" in resolved.unresolved[0]
    assert resolved.unresolved[-1].startswith("gone → no passage")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[query]", "judged.toml: "),
        ("", "query: Field required"),
        ('[[query]]\ntext = "a"\nrelevant = []', "query.0.relevant"),
        ('[[query]]\ntext = "a"\nrelevant = [{grade = 4, source = "a", phrase = "b"}]', "grade"),
        ('[[query]]\ntext = "a"\nrelevant = [{grade = 3, source = "a"}]', "a heading or a phrase"),
        (
            '[[query]]\ntext = "a"\nrelevant = [{grade = 1, source = "a", phrase = "b"}]',
            "nothing answers",
        ),
        (
            '[[query]]\ntext = "a"\nrelevant = [{grade = 3, source = "a", phrase = "b"}]\n' * 2,
            "twice: a",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UnreadableJudgements, match=complaint):
        read_judged_queries(_write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableJudgements, match=r"gone\.toml: No such file"):
        read_judged_queries(tmp_path / "gone.toml")


def test_a_page_of_links_alone_is_no_text(corpus: Corpus, folder: Path) -> None:
    (folder / "guide.md").write_text("[how the gates are opened](gates.md#opening-the-heavy-gates)")

    assert "how the gates are opened" not in _by_text(corpus, "links")


@pytest.mark.parametrize("name", list(CORPORA))
def test_the_judged_questions_can_be_read(name: str) -> None:
    queries = read_judged_queries(CORPORA[name].judged_file)

    assert len(queries) >= 60
    assert all(any(each.grade == 3 for each in query.relevant) for query in queries)


def test_headings_that_are_unique_and_telling_become_queries(corpus: Corpus) -> None:
    queries = _by_text(corpus, "headings")

    assert {
        "Caching the results of methods",
        "Opening the heavy gates",
        "functools — Higher-order functions",
    } == set(queries)
    assert len(queries["Caching the results of methods"].grades) == 2


def test_link_texts_become_queries_for_what_they_point_to(corpus: Corpus) -> None:
    queries = _by_text(corpus, "links")

    # Neither the text that is the target's heading nor the link to another site is among them.
    assert {
        "advice on remembering answers",
        "list of questions people ask",
        "that decorator for memoizing callables",
        "how the gates are opened",
    } == set(queries)
    advice = queries["advice on remembering answers"]
    assert len(advice.grades) == 2
    assert len(advice.excluded) == 1
    assert not advice.excluded & advice.grades.keys()
    (content,) = _contents(corpus, queries["that decorator for memoizing callables"])
    assert "@functools.lru_cache(user_function)" in content
    assert _contents(corpus, queries["how the gates are opened"]) == ["Turn the wheel."]


def test_docstrings_become_queries_for_what_documents_them(corpus: Corpus) -> None:
    queries = _by_text(corpus, "docstrings")

    # The first line of functools.lru_cache's is "Least-recently-used cache decorator."
    assert set(queries) == {
        "Decorator factory to apply update_wrapper() to a wrapper function",
        "Least-recently-used cache decorator.",
    }
    (content,) = _contents(corpus, queries["Least-recently-used cache decorator."])
    assert "lru_cache" in content


def test_without_the_source_files_headings_are_left(corpus: Corpus, folder: Path) -> None:
    for file in folder.rglob("*.*"):
        file.unlink()

    assert make_known_items(corpus, "headings").queries
    assert not make_known_items(corpus, "links").queries
    assert not make_known_items(corpus, "docstrings").queries


def test_a_sample_is_the_same_whatever_the_order() -> None:
    queries = [EvaluationQuery(f"query {number}", {UUID(int=number): 3}) for number in range(50)]

    sample = sample_queries(queries, 10)

    assert len(sample) == 10
    assert sample == sample_queries(queries[::-1], 10)
    assert sample_queries(queries[:5], 10) == queries[:5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("how the gates are opened", True),
        ("Return the largest items", True),
        ("autovacuum_max_workers", False),
        ("itertools.chain.from_iterable()", False),
        ("see the documentation", False),
        ("gates", False),
    ],
)
def test_only_prose_that_says_something_is_a_query(text: str, expected: bool) -> None:
    assert is_telling(text) is expected


@pytest.mark.parametrize(
    ("heading", "text"),
    [
        ("5.4.1. Check Constraints", "Check Constraints"),
        ("Chapter 5. Data Definition", "Data Definition"),
        ("F.35. pg_trgm", "pg_trgm"),
        ("Appendix L. Acronyms", "Acronyms"),
        ("A first look", "A first look"),
    ],
)
def test_numbers_of_headings_are_no_part_of_a_query(heading: str, text: str) -> None:
    assert strip_numbering(heading) == text


def test_an_unknown_kind_is_refused() -> None:
    assert parse_kinds(["links", "headings"]) == ("headings", "links")
    with pytest.raises(UnknownItemKind, match="titles: no kind"):
        parse_kinds(["titles"])
