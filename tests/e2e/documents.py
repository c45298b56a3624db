"""A small folder of documents in every format that `sluice ingest` reads."""

from pathlib import Path
from typing import Any

from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

MARKDOWN_FACT = "The spillway gate of the Ardenne weir opens at a water level of 412 centimetres."
HTML_FACT = "The turbine hall keeps four spare Kaplan runners in the northern bay."
PDF_FACT = "Inspection divers are on call every second Thursday of the month."


def write_documents(folder: Path) -> Path:
    """Write a Markdown file, a page of HTML, a PDF and an encrypted PDF; return `folder`."""
    folder.mkdir()
    (folder / "spillway.md").write_text(f"# Spillway\n\n## Opening levels\n\n{MARKDOWN_FACT}\n")
    (folder / "turbines.html").write_text(
        "<!doctype html><html><head><title>Turbines</title></head>"
        f"<body><main><h1>Turbines</h1><h2>Spares</h2><p>{HTML_FACT}</p></main></body></html>"
    )
    _write_pdf(folder / "divers.pdf", PDF_FACT)
    seal: Any = StandardEncryption("a password", strength=128)  # type: ignore[no-untyped-call]
    _write_pdf(folder / "sealed.pdf", "Nobody may read this.", encryption=seal)
    return folder


def _write_pdf(file: Path, text: str, *, encryption: Any = None) -> None:
    canvas: Any = Canvas(str(file), encrypt=encryption)  # type: ignore[no-untyped-call]
    canvas.setTitle(file.stem)
    canvas.drawString(72, 720, text)
    canvas.save()
