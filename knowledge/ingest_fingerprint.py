"""What tells that reading a file again would change nothing, without reading it."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

_FOLDER = Path(__file__).parent
_READERS = (
    "chunking.py",
    "documents.py",
    "sentences.py",
    "text_cleaning.py",
    "tokens.py",
    *sorted(f"loaders/{file.name}" for file in _FOLDER.glob("loaders/*.py")),
)
_PARSERS = ("beautifulsoup4", "markdown-it-py", "pypdf")


def ingest_fingerprint(
    content_sha256: bytes, *, max_tokens: int, attributes: Mapping[str, Any]
) -> bytes:
    """Return 32 bytes that are the same where a document's chunks would be the same.

    Args:
        content_sha256: of the file's bytes.
        max_tokens: of a chunk.
        attributes: those given besides the file's own.
    """
    settings = msgspec.json.encode([max_tokens, dict(attributes), _code_digest()], order="sorted")
    return hashlib.sha256(content_sha256 + settings).digest()


@cache
def _code_digest() -> str:
    """Digest of the code that makes chunks of bytes: whoever changes it has nothing to raise."""
    digest = hashlib.sha256()
    for name in _READERS:
        digest.update((_FOLDER / name).read_bytes())
    for package in _PARSERS:
        digest.update(f"{package} {version(package)}\n".encode())
    return digest.hexdigest()
