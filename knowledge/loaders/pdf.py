"""PDF through pypdf: one section a page."""

import io
import logging
import re
import struct
import zlib

from pypdf import PasswordType, PdfReader
from pypdf.errors import DependencyError, PyPdfError

from knowledge.loaders.content import Block, Content, UnreadableContent
from knowledge.text_cleaning import clean_line, clean_text

# pypdf's own documentation warns that a broken file may raise other errors than its own.
_BROKEN_FILE_ERRORS = (
    PyPdfError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_MAX_TEXT_CHARACTERS = 32 * 1024 * 1024

_HYPHENATED_LINE_END = re.compile(r"(?<=[^\W\d_])-\n(?=[^\W\d_])(?P<next>.)")
_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
_LIGATURES = str.maketrans(
    {
        "\ufb00": "ff",
        "\ufb01": "fi",
        "\ufb02": "fl",
        "\ufb03": "ffi",
        "\ufb04": "ffl",
        "\ufb05": "st",
        "\ufb06": "st",
        "\u0132": "IJ",
        "\u0133": "ij",
    }
)

# What pypdf tolerates it reports here, a line for each oddity of a file.
logging.getLogger("pypdf").setLevel(logging.ERROR)


def read_pdf(data: bytes) -> Content:
    """Read the text of every page, under a heading `Page N`; pages without text are left out.

    Raises:
        UnreadableContent: the file is broken, needs a password, holds no text, or more than
            32 Mi characters of it.
    """
    try:
        reader = PdfReader(io.BytesIO(data))
        # Many files are encrypted with an empty password, only to mark restrictions on printing.
        if reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
            raise UnreadableContent("is encrypted and needs a password")
        page_count = len(reader.pages)
        title = clean_line(str(reader.metadata.title or "")) if reader.metadata else ""
    except DependencyError as error:
        raise UnreadableContent(f"needs a decryption library: {error}") from error
    except _BROKEN_FILE_ERRORS as error:
        raise UnreadableContent(f"is no readable PDF: {_describe(error)}") from error

    blocks: list[Block] = []
    character_count = 0
    for number in range(1, page_count + 1):
        try:
            text = reader.pages[number - 1].extract_text()
        except _BROKEN_FILE_ERRORS as error:
            raise UnreadableContent(f"page {number} is broken: {_describe(error)}") from error
        character_count += len(text)
        if character_count > _MAX_TEXT_CHARACTERS:
            raise UnreadableContent(f"holds more than {_MAX_TEXT_CHARACTERS:,} characters of text")
        paragraphs = _BLANK_LINES.split(normalize_page_text(text))
        if any(paragraphs):
            blocks.append(Block("heading", f"Page {number}", level=1))
            blocks.extend(Block("paragraph", part) for part in paragraphs if part)
    if not blocks:
        raise UnreadableContent(
            f"holds no text on its {page_count} page(s): a scan needs text recognition first"
        )
    return Content(title or None, tuple(blocks))


def normalize_page_text(text: str) -> str:
    """Undo typesetting: ligatures, and words hyphenated at the end of a line."""
    text = clean_text(text).translate(_LIGATURES)
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return _HYPHENATED_LINE_END.sub(_join_hyphenated, text).strip()


def _join_hyphenated(found: re.Match[str]) -> str:
    # "Jean-\nPaul" keeps its hyphen: a name, not a broken word.
    following = found["next"]
    return following if following.islower() else f"-{following}"


def _describe(error: Exception) -> str:
    return f"{error}" or type(error).__name__
