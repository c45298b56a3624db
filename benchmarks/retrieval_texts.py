"""Documents for the retrieval benchmark."""

import inspect
from importlib import import_module
from pathlib import Path

from benchmarks.corpora import CORPORA
from benchmarks.figures import InvariantBroken

_PAGES = {corpus.package: corpus.folder for corpus in CORPORA.values()}
"""Debian package → its pages."""
_MODULES = ("argparse", "asyncio", "decimal", "logging", "pathlib", "shutil", "subprocess")


def find_pages() -> list[Path]:
    """Return the folders of the documentation. Raises InvariantBroken where one is missing."""
    missing = [package for package, folder in _PAGES.items() if not folder.is_dir()]
    if missing:
        raise InvariantBroken(f"install the Debian packages {' '.join(missing)}")
    return list(_PAGES.values())


def write_small_pages(folder: Path) -> list[Path]:
    """Write the docstrings of some modules as Markdown: real text that every machine has."""
    folder.mkdir(parents=True)
    files = []
    for name in _MODULES:
        module = import_module(name)
        sections = [
            f"## {thing}\n\n{text}"
            for thing, value in vars(module).items()
            if not thing.startswith("_") and (text := inspect.getdoc(value))
        ]
        file = folder / f"{name}.md"
        file.write_text(f"# {name}\n\n" + "\n\n".join(sections))
        files.append(file)
    return files
