"""PDF to blocks."""

import io

import pytest
from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen.canvas import Canvas

from knowledge.loaders.content import Block, UnreadableContent
from knowledge.loaders.pdf import normalize_page_text, read_pdf


def make_pdf(*pages: str, title: str = "") -> bytes:
    """Return a PDF with one page for each text."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    canvas.setTitle(title)
    for page in pages:
        text = canvas.beginText(72, 720)
        text.textLines(page)
        canvas.drawText(text)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def encrypt(data: bytes, *, password: str, algorithm: str = "AES-256") -> bytes:
    """Return the PDF, encrypted: to open it takes `password`."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(data)))
    writer.encrypt(user_password=password, owner_password="owner", algorithm=algorithm)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def test_each_page_is_a_section() -> None:
    content = read_pdf(make_pdf("The first page.\nIt has two lines.", "", "The third."))
    assert content.blocks == (
        Block("heading", "Page 1", level=1),
        Block("paragraph", "The first page.\nIt has two lines."),
        Block("heading", "Page 3", level=1),
        Block("paragraph", "The third."),
    )


def test_the_title_is_in_the_metadata() -> None:
    assert read_pdf(make_pdf("Text.", title="Gate  manual")).title == "Gate manual"


def test_a_password_is_needed() -> None:
    data = encrypt(make_pdf("Secret."), password="open sesame")
    with pytest.raises(UnreadableContent, match="encrypted and needs a password"):
        read_pdf(data)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_an_empty_password_is_none(algorithm: str) -> None:
    data = encrypt(make_pdf("Restricted, not secret."), password="", algorithm=algorithm)
    assert Block("paragraph", "Restricted, not secret.") in read_pdf(data).blocks


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused_or_read_never_worse(share: float) -> None:
    data = make_pdf("Some text on the page.")
    try:
        content = read_pdf(data[: int(len(data) * share)])
    except UnreadableContent as error:
        assert str(error)  # noqa: PT017, a readable rest is fine too
    else:
        assert "Some text" in str(content.blocks)


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"%PDF-1.7\n%%EOF", b"%PDF-1.4" + b"\x00" * 500])
def test_what_only_begins_like_a_pdf_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableContent):
        read_pdf(data)


def test_a_scan_is_named_as_such() -> None:
    with pytest.raises(UnreadableContent, match="no text on its 2 page"):
        read_pdf(make_pdf("", ""))


def test_typesetting_is_undone() -> None:
    text = "The of\ufb01ce is ef\ufb01cient, docu-\nmentation by Jean-\nPaul, 1-\n2, well-known."
    assert normalize_page_text(text) == (
        "The office is efficient, documentation by Jean-Paul, 1-\n2, well-known."
    )
