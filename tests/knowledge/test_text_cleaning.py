"""What is kept out of the database."""

from knowledge.text_cleaning import clean_line, clean_text, escape_surrogates


def test_what_cannot_be_stored_or_seen_is_removed() -> None:
    assert clean_text("\ufeffa\x00b\x07c\xadd\u200be") == "abcde"


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert clean_text("caf\udce9") == "caf\ufffd"
    assert clean_text("\U0001f6b0") == "\U0001f6b0"


def test_every_line_break_is_a_newline() -> None:
    assert clean_text("a\r\nb\rc\x0cd\u2028e\tf") == "a\nb\nc\nd\ne\tf"


def test_a_line_has_single_spaces() -> None:
    assert clean_line(" A\n  heading\u00a0here ") == "A heading here"


def test_names_that_are_not_utf8_stay_distinct() -> None:
    assert escape_surrogates("caf\udce9.md") != escape_surrogates("caf\udce8.md")
    escape_surrogates("caf\udce9\x00.md").encode()
