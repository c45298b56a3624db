"""The text that is embedded, and the size of chunks that suits a model."""

from dataclasses import replace

import pytest

from knowledge.embedded_text import choose_max_tokens, stored_text_to_embed, text_to_embed
from tests.support.hashing_encoder_engine import HASHING_MODEL


def test_title_and_headings_stand_above_the_content() -> None:
    text = text_to_embed("Handbook", ["Gates", "Levels"], "412 cm.")
    assert text == "Handbook\nGates\nLevels\n412 cm."
    assert stored_text_to_embed("Handbook\nGates\nLevels", "412 cm.") == text


@pytest.mark.parametrize(("longest", "expected"), [(256, 208), (64, 64), (8192, 400)])
def test_chunks_leave_room_for_the_headings(longest: int, expected: int) -> None:
    assert choose_max_tokens(replace(HASHING_MODEL, max_document_tokens=longest)) == expected


def test_without_a_model_the_prompt_alone_limits_chunks() -> None:
    assert choose_max_tokens(None) == 400
