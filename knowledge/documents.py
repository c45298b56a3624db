"""Documents: files found, read and split into blocks."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from knowledge.loaders.content import Block, Content, UnreadableContent
from knowledge.loaders.decoding import decode_text
from knowledge.text_cleaning import clean_line, clean_text, escape_surrogates

MEDIA_TYPE_OF_SUFFIX = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".mdown": "text/markdown",
    ".mdx": "text/markdown",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".rst": "text/x-rst",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".pdf": "application/pdf",
}

_MIB = 1024 * 1024
MAX_BYTES_OF_MEDIA_TYPE = {
    "text/markdown": 16 * _MIB,
    "text/plain": 32 * _MIB,
    "text/x-rst": 32 * _MIB,
    "text/html": 16 * _MIB,
    "application/pdf": 128 * _MIB,
}
"""Larger files are refused. HTML takes some fifty times its size in memory while it is read; a
PDF's bytes are mostly pictures, which are not."""

_LONGEST_TITLE = 300
_SNIFFED_BYTES = 1024
_HTML_BEGINNINGS = (b"<!doctype html", b"<html", b"<?xml")


@dataclass(frozen=True)
class Document:
    """A file's text in blocks."""

    source: str
    """Path or URL by which people know the document."""
    title: str
    media_type: str
    blocks: tuple[Block, ...]
    content_sha256: bytes
    """SHA-256 of the file's bytes."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What the file says about itself besides its title, for filters."""
    warning: str | None = None
    """What of the file could not be read."""


class UnreadableDocument(Exception):
    """A file that cannot be read as a document; the message says which and why."""


def load_document(path: Path, *, source: str) -> Document:
    """Read the document at `path`, by its suffix or, where that lies, by its first bytes.

    Raises:
        UnreadableDocument: no such file, over the size limit of its type
            (`MAX_BYTES_OF_MEDIA_TYPE`), broken, encrypted, not decodable, or without text.
    """
    try:
        data, media_type = _read_bytes(path)
        content = _read_content(data, media_type)
    except UnreadableContent as error:
        raise UnreadableDocument(f"{escape_surrogates(str(path))}: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableDocument(f"{escape_surrogates(str(path))}: {reason}") from error
    blocks = tuple(_clean_blocks(content.blocks))
    if not blocks:
        reason = "holds no text" if data.strip() else "is empty"
        raise UnreadableDocument(f"{escape_surrogates(str(path))}: {reason}")
    title = clean_line(content.title or "") or escape_surrogates(path.stem)
    return Document(
        source=escape_surrogates(source),
        title=title[:_LONGEST_TITLE],
        media_type=media_type,
        blocks=blocks,
        content_sha256=hashlib.sha256(data).digest(),
        attributes=content.attributes,
        warning=content.warning,
    )


def read_file_text(data: bytes, name: str) -> str:
    """Return the text of a file that is in memory; `name` tells its type as a path does.

    Raises:
        UnreadableDocument: over the size limit of its type, broken, encrypted, not decodable, or
            without text.
    """
    path = Path(name)
    media_type = _detect_media_type(path, data[:_SNIFFED_BYTES])
    try:
        _check_size(len(data), media_type)
        if media_type in ("application/pdf", "text/html"):
            blocks = _clean_blocks(_read_content(data, media_type).blocks)
            text = "\n\n".join(block.text for block in blocks)
        else:
            text = clean_text(decode_text(data))
    except UnreadableContent as error:
        raise UnreadableDocument(f"{name}: {error}") from error
    if not text.strip():
        raise UnreadableDocument(f"{name}: holds no text")
    return text


def hash_document(path: Path) -> bytes:
    """Return the SHA-256 of the file's bytes. Raises UnreadableDocument."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableDocument(f"{escape_surrogates(str(path))}: {reason}") from error


def find_documents(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the files to read: those named, and those of known suffixes in folders named.

    Folders are walked in sorted order, hidden files and folders and links to folders passed
    over, and Sphinx's copies of its pages' sources. A file that is named is yielded whatever
    its suffix; none is yielded twice.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        for file in _walk(path) if path.is_dir() else (path,):
            resolved = file.resolve()
            if resolved not in seen:
                seen.add(resolved)
                yield file


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not _is_copy_of_pages(name, files)
        )
        for name in sorted(files):
            path = Path(parent, name)
            is_known = path.suffix.lower() in MEDIA_TYPE_OF_SUFFIX
            if is_known and not name.startswith(".") and path.is_file():
                yield path


def _is_copy_of_pages(folder: str, siblings: Sequence[str]) -> bool:
    """Sphinx keeps the sources of its HTML pages beside them: each page would be in twice."""
    return folder == "_sources" and "searchindex.js" in siblings


def _read_bytes(path: Path) -> tuple[bytes, str]:
    with path.open("rb") as file:
        media_type = _detect_media_type(path, file.read(_SNIFFED_BYTES))
        size = os.fstat(file.fileno()).st_size
        _check_size(size, media_type)
        file.seek(0)
        return file.read(MAX_BYTES_OF_MEDIA_TYPE[media_type]), media_type


def _check_size(size: int, media_type: str) -> None:
    limit = MAX_BYTES_OF_MEDIA_TYPE[media_type]
    if size > limit:
        raise UnreadableContent(
            f"is too large: {size / _MIB:.1f} MiB, {media_type} files may have "
            f"{limit // _MIB} MiB; split it"
        )


def _detect_media_type(path: Path, beginning: bytes) -> str:
    by_suffix = MEDIA_TYPE_OF_SUFFIX.get(path.suffix.lower())
    if b"%PDF-" in beginning and (by_suffix is None or beginning.lstrip().startswith(b"%PDF-")):
        return "application/pdf"
    is_html = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_HTML_BEGINNINGS)
    if is_html and by_suffix != "text/markdown":
        return "text/html"
    return by_suffix or "text/plain"


def _read_content(data: bytes, media_type: str) -> Content:
    # Parsers are imported where they are used: what only stores or searches does without them.
    if media_type == "application/pdf":
        if not data.strip():
            raise UnreadableContent("is empty")
        from knowledge.loaders.pdf import read_pdf

        return read_pdf(data)
    if media_type == "text/html":
        from knowledge.loaders.html import decode_html, read_html

        return read_html(clean_text(decode_html(data)))
    text = clean_text(decode_text(data))
    if media_type == "text/markdown":
        from knowledge.loaders.markdown import read_markdown

        return read_markdown(text)
    from knowledge.loaders.plain_text import read_plain_text

    return read_plain_text(text)


def _clean_blocks(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        text = clean_text(block.text)
        if text.strip():
            yield replace(block, text=text, language=clean_line(block.language))
