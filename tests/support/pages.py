"""The pages for people, read as what can be tried: their fenced blocks and inline code.

A block's info string is its language and what the runner is to know, as in

    ```sh skip="needs podman"
    ```sh tested-by="tests/e2e/test_dev_command.py"

`skip` says why a block cannot run where the tests run, `tested-by` which test does the same.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_OPTIONS = frozenset({"skip", "tested-by"})


class WrongInfoString(ValueError):
    """A fence says something that the runner does not know."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    """Of the fence, from 1."""
    language: str
    text: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def read_blocks(*languages: str) -> list[Block]:
    """Return the blocks in these languages on all pages, in their order; without any, all blocks.

    Raises:
        WrongInfoString: a fence has an option that means nothing.
    """
    return [
        block
        for page in PAGES
        for block in _blocks(page)
        if not languages or block.language in languages
    ]


def read_inline_code() -> list[tuple[Path, str]]:
    """Return what stands between backticks on all pages, with its page."""
    return [
        (page, child.content)
        for page in PAGES
        for token in MarkdownIt("commonmark").enable("table").parse(page.read_text())
        for child in token.children or ()
        if child.type == "code_inline"
    ]


def read_links() -> list[tuple[Path, str]]:
    """Return the targets of the links and pictures on all pages, with their page."""
    return [
        (page, str(child.attrs["href" if child.type == "link_open" else "src"]))
        for page in PAGES
        for token in MarkdownIt("commonmark").enable("table").parse(page.read_text())
        for child in token.children or ()
        if child.type in ("link_open", "image")
    ]


def _blocks(page: Path) -> Iterator[Block]:
    for token in MarkdownIt("commonmark").parse(page.read_text()):
        if token.type != "fence":
            continue
        assert token.map is not None
        line = token.map[0] + 1
        language, *options = shlex.split(token.info) or [""]
        pairs = dict(option.partition("=")[::2] for option in options)
        if unknown := set(pairs) - _OPTIONS:
            raise WrongInfoString(f"{page.name}:{line}: {', '.join(sorted(unknown))}")
        yield Block(page, line, language, token.content, pairs)
