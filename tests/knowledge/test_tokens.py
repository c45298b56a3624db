"""The token estimate."""

import pytest

from knowledge.tokens import estimate_tokens

# Real counts by the encoding cl100k_base.
COUNTED = [
    ("The quick brown fox jumps over the lazy dog.", 10),
    ("def estimate_tokens(text: str) -> int:\n    return len(text) // 4\n", 18),
    ("数据库是按照数据结构来组织、存储和管理数据的仓库。", 25),
    ('{"name": "sluice", "version": "0.1.0", "private": true}', 20),
]


@pytest.mark.parametrize(("text", "count"), COUNTED)
def test_the_estimate_is_near_the_real_count(text: str, count: int) -> None:
    assert 0.8 * count <= estimate_tokens(text) <= 1.5 * count


def test_nothing_has_no_tokens() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("  ") <= 1


def test_parts_joined_by_a_blank_line_add_up() -> None:
    one, other = "First paragraph, with words.", "    indented()\n    code()"
    assert estimate_tokens(f"{one}\n\n{other}") == (
        estimate_tokens(one) + estimate_tokens(other) + 1
    )


def test_an_unbroken_run_is_not_one_token() -> None:
    assert estimate_tokens("a" * 8000) == 1000
