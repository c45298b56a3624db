"""Reciprocal rank fusion."""

import pytest

from knowledge.rank_fusion import RRF_CONSTANT, fuse_rankings


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
