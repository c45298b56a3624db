"""Docstrings' first lines as queries: what the code says of itself, for where it is documented.

For documentation that Sphinx made of Python's standard library. Only modules of the standard
library are imported.
"""

import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup

from knowledge.evaluation.corpus import Corpus, squash
from knowledge.evaluation.item_texts import is_telling, merge_items
from knowledge.evaluation.query_sets import KNOWN_ITEM_GRADE, EvaluationQuery
from knowledge.loaders.html import decode_html

_SIGNATURE = re.compile(
    r'<dt class="sig sig-object py" id="(?P<name>[\w.]+)">(?P<signature>.*?)</dt>', re.DOTALL
)
_PERMALINK = re.compile(r'<a class="headerlink".*?</a>', re.DOTALL)
_NOT_IMPORTED = frozenset({"antigravity", "this", "idlelib", "turtledemo", "test", "__main__"})
"""Modules that do something when they are imported, or are none for programs."""


def find_docstrings(corpus: Corpus) -> list[EvaluationQuery]:
    """Return the first lines of the docstrings of what the corpus documents.

    Relevant are the chunks that hold the signature.
    """
    return merge_items(_find_items(corpus))


def _find_items(corpus: Corpus) -> Iterator[EvaluationQuery]:
    for source, chunks in corpus.chunks_of_source.items():
        for name, signature in _read_signatures(Path(source)):
            line = _first_line(name)
            if line is None or not is_telling(line):
                continue
            relevant = {
                chunk.chunk_id: KNOWN_ITEM_GRADE
                for chunk in chunks
                if signature in chunk.squashed_lines
            }
            if relevant:
                yield EvaluationQuery(line, relevant)


def _read_signatures(file: Path) -> Iterator[tuple[str, str]]:
    """Yield what a page defines: the dotted name, and the signature as `squash` leaves it."""
    if file.suffix.lower() not in {".html", ".htm"}:
        return
    try:
        markup = decode_html(file.read_bytes())
    except OSError:
        # Gone since it was ingested: it gives no queries.
        return
    for found in _SIGNATURE.finditer(markup):
        signature = _PERMALINK.sub("", found["signature"])
        yield found["name"], squash(BeautifulSoup(signature, "html.parser").get_text())


def _first_line(name: str) -> str | None:
    """Return the first sentence of the docstring of the object called `name`, if it has one."""
    found = _find_object(name)
    is_documented = inspect.isroutine(found) or inspect.isclass(found)
    docstring = inspect.getdoc(found) if is_documented else None
    if not docstring:
        return None
    line = docstring.split("\n", 1)[0].strip()
    # Of a built-in, the first line may be its signature, which says nothing that is not a name.
    is_signature = (
        "->" in line or not line[:1].isalpha() or line.startswith(f"{name.rpartition('.')[2]}(")
    )
    return None if is_signature else line


def _find_object(name: str) -> Any:
    """Return the object of the standard library called `name`; None where there is none."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = _import_module(".".join(parts[:length]))
        if module is not None:
            return _get_attribute(module, parts[length:])
    return _get_attribute(importlib.import_module("builtins"), parts)


def _import_module(name: str) -> Any:
    package = name.partition(".")[0]
    if package not in sys.stdlib_module_names or package in _NOT_IMPORTED:
        return None
    try:
        with warnings.catch_warnings():
            # Modules on their way out say so.
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(name)
    except ImportError:
        # Of another platform, or the name is a class's.
        return None


def _get_attribute(found: Any, names: list[str]) -> Any:
    for name in names:
        found = getattr(found, name, None)
    return found
