"""Counts of words are remembered, for a while and up to a number."""

from knowledge.lexeme_counts import LexemeCounts


def test_counts_are_kept_by_collection() -> None:
    counts = LexemeCounts()
    counts.keep(("a",), {"gate": 3, "lock": 1})
    counts.keep((), {"gate": 7})

    assert counts.find(("a",), ["gate", "weir"]) == {"gate": 3}
    assert counts.find((), ["gate", "lock"]) == {"gate": 7}


def test_old_counts_are_forgotten() -> None:
    counts = LexemeCounts(kept_seconds=-1)
    counts.keep((), {"gate": 3})

    assert counts.find((), ["gate"]) == {}


def test_a_word_that_no_chunk_holds_is_counted_again() -> None:
    counts = LexemeCounts()
    counts.keep((), {"gate": 0})

    assert counts.find((), ["gate"]) == {}


def test_the_first_make_room() -> None:
    counts = LexemeCounts(most_lexemes=2)
    counts.keep((), {"a": 1, "b": 1})
    counts.keep((), {"a": 2})
    counts.keep((), {"c": 1})

    assert counts.find((), ["a", "b", "c"]) == {"a": 2, "c": 1}
