"""Passages that repeat others."""

from knowledge.near_duplicates import split_near_duplicates
from tests.knowledge.passages import make_passage

LONG = "The gate keeper opens the sluice every morning at six and closes it at night"


def test_copies_and_contained_passages_are_dropped_whatever_the_case() -> None:
    passages = [
        make_passage(LONG, chunk_id="first"),
        make_passage(LONG.upper() + "!", chunk_id="copy"),
        make_passage(LONG[:50], chunk_id="part"),
        make_passage("The gate keeper sleeps.", chunk_id="other"),
        make_passage("***", chunk_id="no words"),
        make_passage("six", chunk_id="one word"),
    ]
    kept, dropped = split_near_duplicates(passages)
    assert [p.chunk_id for p in kept] == ["first", "other", "no words", "one word"]
    assert [p.chunk_id for p in dropped] == ["copy", "part"]


def test_chunks_that_overlap_by_a_sentence_both_stay() -> None:
    one = make_passage("Alpha beta gamma delta epsilon zeta. " + LONG, chunk_id="one")
    other = make_passage(LONG + " " + " ".join(f"word{i}" for i in range(40)), chunk_id="other")
    assert len(split_near_duplicates([one, other])[0]) == 2
