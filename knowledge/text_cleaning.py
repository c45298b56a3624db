"""Text that PostgreSQL and a prompt can hold."""

import re
from typing import Final

_LINE_BREAKS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# NUL is refused by PostgreSQL and lone surrogates by UTF-8; the other control characters and
# the invisible break hints (soft hyphen, zero-width space, byte order mark) keep words from
# being found.
_UNWANTED = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\ufeff\ud800-\udfff]")
_HORIZONTAL_SPACES = re.compile(r"[^\S\n]+")

REPLACEMENT_CHARACTER: Final = "\ufffd"


def clean_text(text: str) -> str:
    """Return `text` with `\\n` line breaks and without characters that cannot be stored.

    A lone surrogate becomes U+FFFD, since something stood there; control characters, soft
    hyphens, zero-width spaces and byte order marks go without a trace.
    """
    text = _LINE_BREAKS.sub("\n", text)
    return _UNWANTED.sub(_replace_unwanted, text)


def clean_line(text: str) -> str:
    """Return `text` cleaned and on one line, runs of whitespace made one space."""
    return " ".join(clean_text(text).split())


def collapse_spaces(text: str) -> str:
    """Return `text` with runs of spaces and tabs made one space; line breaks stay."""
    lines = (line.strip() for line in _HORIZONTAL_SPACES.sub(" ", text).split("\n"))
    return "\n".join(line for line in lines if line)


def escape_surrogates(text: str) -> str:
    """Return `text` with lone surrogates as backslash escapes and without NUL.

    For names: a path that is not UTF-8 stays distinct from its neighbours, which
    `clean_text` would not grant.
    """
    return text.replace("\x00", "").encode("utf-8", "backslashreplace").decode("utf-8")


def _replace_unwanted(found: re.Match[str]) -> str:
    return REPLACEMENT_CHARACTER if "\ud800" <= found[0] <= "\udfff" else ""
