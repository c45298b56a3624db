"""Makes `knowledge/encoding/builtin_heads.safetensors`: `python -m benchmarks.fit_builtin_heads`.

The texts are chunks of documentation that Debian packages bring, none of which is in the
evaluation's corpora. The same package versions give the same heads.
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

from knowledge.chunking import chunk_document
from knowledge.documents import UnreadableDocument, load_document
from knowledge.embedded_text import text_to_embed
from knowledge.encoding.builtin_model import load_weights, package_dir
from knowledge.encoding.head_fitting import fit_heads
from knowledge.encoding.heads import save_heads
from knowledge.encoding.model_directory import ModelConfig, ModelDirectory
from knowledge.encoding.tokenization import TextTokenizer

_FOLDERS = {
    "sqlite3-doc": "/usr/share/doc/sqlite3",
    "debian-policy": "/usr/share/doc/debian-policy",
    "python-django-doc": "/usr/share/doc/python-django-doc/html",
    "python-sqlalchemy-doc": "/usr/share/doc/python-sqlalchemy-doc/html",
    "nodejs-doc": "/usr/share/doc/nodejs/api",
    "linux-doc-6.1": "/usr/share/doc/linux-doc-6.1/html",
}
"""Debian 12 package → its HTML."""
_PAGES_OF_EACH = 200
_CHUNKS_OF_EACH = 600
_CHUNK_TOKENS = 200
_SEED = 20
_DIMENSIONS = 256
_TOKEN_DIMENSIONS = 64
_TARGET = Path(__file__).parent.parent / "knowledge" / "encoding" / "builtin_heads.safetensors"


def main() -> None:
    """Read the folders, fit the heads, write the file."""
    missing = [package for package, folder in _FOLDERS.items() if not Path(folder).is_dir()]
    if missing:
        sys.exit(f"install the Debian packages {' '.join(missing)}")
    texts = [text for folder in _FOLDERS.values() for text in _sample(Path(folder))]
    source = package_dir()
    weights, shape = load_weights(source)
    tokenizer = TextTokenizer(_PackageDirectory(source))
    heads = fit_heads(
        weights,
        shape,
        tokenizer.tokenize(texts, kind="document"),
        dimensions=_DIMENSIONS,
        token_dimensions=_TOKEN_DIMENSIONS,
    )
    save_heads(heads, _TARGET)
    print(f"{_TARGET.name}: {len(texts)} texts, {_TARGET.stat().st_size:,} bytes")


class _PackageDirectory(ModelDirectory):
    """The package's files, which come without a graph."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = ModelConfig()


def _sample(folder: Path) -> Iterator[str]:
    choice = random.Random(_SEED)
    pages = sorted(folder.rglob("*.html"))
    choice.shuffle(pages)
    chunks: list[str] = []
    for page in pages[:_PAGES_OF_EACH]:
        try:
            document = load_document(page, source=page.name)
        except UnreadableDocument:
            continue
        chunks += [
            text_to_embed(document.title, chunk.heading_path, chunk.content)
            for chunk in chunk_document(document, max_tokens=_CHUNK_TOKENS)
        ]
    choice.shuffle(chunks)
    yield from chunks[:_CHUNKS_OF_EACH]


if __name__ == "__main__":
    main()
