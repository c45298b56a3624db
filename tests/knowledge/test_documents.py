"""Files found and read, the unreadable ones refused by name and reason."""

import hashlib
import os
from pathlib import Path

import pytest

from knowledge.documents import (
    MAX_BYTES_OF_MEDIA_TYPE,
    Document,
    UnreadableDocument,
    find_documents,
    load_document,
)
from tests.knowledge.loaders.test_pdf import encrypt, make_pdf


def _write(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def _load(path: Path) -> Document:
    return load_document(path, source=path.name)


def test_a_document_has_title_type_blocks_and_hash(tmp_path: Path) -> None:
    data = b"# Gates\n\nText.\n"
    document = _load(_write(tmp_path, "gates.md", data))
    assert (document.source, document.title, document.media_type) == (
        "gates.md",
        "Gates",
        "text/markdown",
    )
    assert [block.kind for block in document.blocks] == ["heading", "paragraph"]
    assert document.content_sha256 == hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    ("name", "data", "media_type", "title"),
    [
        ("a.txt", "Text", "text/plain", "a"),
        ("a.rst", "Title\n=====\n\nText", "text/x-rst", "Title"),
        ("A.HTML", "<title>Page</title><p>Text", "text/html", "Page"),
        ("a.pdf", make_pdf("Text", title="Paper"), "application/pdf", "Paper"),
        ("lies.txt", make_pdf("Text"), "application/pdf", "lies"),
        ("lies.pdf", "<!DOCTYPE html><h1>Moved</h1><p>Text", "text/html", "Moved"),
        ("lies.txt", "\n<html><body>Text", "text/html", "lies"),
        ("NOTICE", "Text", "text/plain", "NOTICE"),
        ("wide.txt", "Text".encode("utf-16"), "text/plain", "wide"),
        ("marked.md", b"\xef\xbb\xbf# Title\n\nText", "text/markdown", "Title"),
    ],
)
def test_the_type_is_that_of_the_content(
    tmp_path: Path, name: str, data: bytes | str, media_type: str, title: str
) -> None:
    document = _load(_write(tmp_path, name, data))
    assert document.media_type == media_type
    assert document.title == title
    assert "Text" in document.blocks[-1].text


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.md", b"", "is empty"),
        ("blank.txt", b" \n\n ", "is empty"),
        ("empty.pdf", b"", "is empty"),
        ("markup.html", "<html><script>x</script></html>", "holds no text"),
        ("latin.txt", "Müller".encode("latin-1"), "is not UTF-8 .byte 0xFC at offset 1."),
        ("broken.txt", b"\xff\xfeA", "is not valid UTF-16"),
        ("image.md", b"\x89PNG\r\n\x1a\n\x00\x00", "holds binary data"),
        ("secret.pdf", encrypt(make_pdf("Secret"), password="x"), "needs a password"),
        ("cut.pdf", make_pdf("Text")[:200], "is no readable PDF|holds no text"),
        ("word.pdf", b"PK\x03\x04 no PDF", "is no readable PDF"),
    ],
)
def test_the_unreadable_is_refused_by_name_and_reason(
    tmp_path: Path, name: str, data: bytes | str, reason: str
) -> None:
    with pytest.raises(UnreadableDocument, match=reason) as refusal:
        _load(_write(tmp_path, name, data))
    assert name in str(refusal.value)


@pytest.mark.parametrize("suffix", [".md", ".txt", ".html"])
def test_a_file_over_its_limit_is_not_read(tmp_path: Path, suffix: str) -> None:
    path = _write(tmp_path, f"large{suffix}", "x")
    os.truncate(path, 50 * 1024 * 1024)
    with pytest.raises(UnreadableDocument, match=r"too large: 50\.0 MiB, .* may have \d+ MiB"):
        _load(path)
    assert all(limit < 200 * 1024 * 1024 for limit in MAX_BYTES_OF_MEDIA_TYPE.values())


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match="No such file"):
        _load(tmp_path / "absent.md")
    with pytest.raises(UnreadableDocument, match="Is a directory"):
        _load(tmp_path)


def test_what_postgresql_refuses_does_not_get_in(tmp_path: Path) -> None:
    page = "<title>A&#0;B</title><p>x&#xD800;y &#x1F;z</p><pre>\x07</pre>"
    document = load_document(_write(tmp_path, "a.html", page), source="caf\udce9\x00.html")
    texts = (document.title, document.source, *(block.text for block in document.blocks))
    for text in texts:
        text.encode()
        assert "\x00" not in text


def test_sphinx_pages_are_found_without_the_copies_of_their_sources(tmp_path: Path) -> None:
    for name in ("html/index.html", "html/searchindex.js", "html/_sources/index.rst.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "_sources").mkdir()
    (tmp_path / "_sources" / "mine.txt").write_text("text")

    found = [path.relative_to(tmp_path).as_posix() for path in find_documents([tmp_path])]

    assert found == ["_sources/mine.txt", "html/index.html"]


def test_folders_are_walked_in_order_without_the_hidden(tmp_path: Path) -> None:
    for name in ("b.md", "a/z.txt", "a/b.PDF", ".git/x.md", "a/.hidden.md", "a/x.py", "a/.d/y.md"):
        _write(tmp_path, name, "x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "dangling.md").symlink_to(tmp_path / "absent.md")

    found = list(find_documents([tmp_path, tmp_path / "b.md", tmp_path / "a" / "x.py"]))

    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["b.md", "a/b.PDF", "a/z.txt", "a/x.py"]


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        list(find_documents([tmp_path / "absent"]))
