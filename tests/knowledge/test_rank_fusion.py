"""Reciprocal rank fusion."""

import pytest

from knowledge.rank_fusion import RRF_CONSTANT, TEXT_WEIGHT, fuse_rankings, fuse_scores


def test_the_score_is_the_sum_of_reciprocal_ranks() -> None:
    fused = fuse_rankings(["a", "b", "c"], ["c", "d"])
    assert RRF_CONSTANT == 60
    assert fused == {
        "c": pytest.approx(1 / 63 + 1 / 61),
        "a": pytest.approx(1 / 61),
        "b": pytest.approx(1 / 62),
        "d": pytest.approx(1 / 62),
    }
    assert list(fused) == ["c", "a", "b", "d"]


def test_of_equal_scores_the_first_rankings_comes_first() -> None:
    assert list(fuse_rankings(["a", "b"], ["x", "y"])) == ["a", "x", "b", "y"]
    assert list(fuse_rankings(["x", "y"], ["a", "b"])) == ["x", "a", "y", "b"]


def test_both_middling_beats_one_good() -> None:
    fused = fuse_rankings(["a", "m", "b"], ["x", "m", "y"])
    assert next(iter(fused)) == "m"


def test_one_ranking_keeps_its_order() -> None:
    assert list(fuse_rankings(["c", "a", "b"])) == ["c", "a", "b"]
    assert list(fuse_rankings(["c", "a", "b"], [])) == ["c", "a", "b"]
    assert fuse_rankings() == fuse_rankings([], []) == {}


def test_a_small_constant_favours_the_first() -> None:
    rankings = (["a", "m"], ["x", "m"])
    assert next(iter(fuse_rankings(*rankings, constant=60))) == "m"
    assert next(iter(fuse_rankings(*rankings, constant=0))) == "a"


def test_scores_are_summed_with_the_text_share_squared() -> None:
    fused = fuse_scores({"a": 0.4, "b": 1.0}, {"a": 0.5, "c": 0.3}, {"b": 0.1})

    assert fused == pytest.approx({"b": TEXT_WEIGHT + 0.1, "a": 0.16 * TEXT_WEIGHT + 0.5, "c": 0.3})
    assert list(fused) == ["b", "a", "c"]


def test_a_chunk_that_only_text_found_is_as_far_as_the_last_of_the_nearest() -> None:
    assert fuse_scores({"a": 0.0}, {"b": 0.9, "c": 0.3}, {})["a"] == 0.3
    assert fuse_scores({"a": 0.5}, {}, {}) == {"a": 0.25 * TEXT_WEIGHT}
    assert fuse_scores({}, {}, {}) == {}
