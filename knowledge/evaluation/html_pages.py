"""Source pages of the corpus read again, for what the loaders flatten: anchors and links."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

from knowledge.evaluation.corpus import squash
from knowledge.loaders.content import UnreadableContent
from knowledge.loaders.decoding import decode_text
from knowledge.loaders.html import decode_html
from knowledge.text_cleaning import clean_line, clean_text

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_SECTION_CLASSES = frozenset(
    {"section", "chapter", "appendix", "preface", "refentry", "sect1", "sect2", "sect3", "sect4",
     "sect5", "refsect1", "refsect2", "refsect3", "simplesect"}
)  # fmt: skip
_CHROME_CLASSES = frozenset(
    {"headerlink", "sphinxsidebar", "related", "navheader", "navfooter", "toc", "contents",
     "toctree-wrapper", "breadcrumb", "breadcrumbs", "table-of-contents"}
)  # fmt: skip
_CHROME_ELEMENTS = frozenset({"nav", "footer", "head", "script", "style"})
_MOST_LINKED = 0.5
"""Share of a page's text in links, from which on it is an index and no text."""


@dataclass(frozen=True)
class Anchor:
    """What an ID of a page stands for; texts as `squash` leaves them."""

    heading: str | None = None
    """Of the section that bears the ID."""
    term: str | None = None
    """The signature or term that is defined there."""


@dataclass(frozen=True)
class Link:
    """A link to another page or section of the corpus."""

    text: str
    source: str
    """Of the document it points to."""
    fragment: str


class HtmlPage:
    """A page's anchors and links."""

    def __init__(self, source: str, markup: str) -> None:
        self._source = source
        self._soup = BeautifulSoup(markup, "html.parser")
        for element in self._soup.find_all(class_="headerlink"):
            element.decompose()

    @cached_property
    def anchors(self) -> Mapping[str, Anchor]:
        """IDs of sections, headings, signatures and terms. Others stand for nothing here."""
        anchors = {}
        for element in self._soup.find_all(id=True):
            anchor = _describe_anchor(element)
            if anchor is not None:
                anchors[str(element["id"])] = anchor
        return anchors

    @property
    def links(self) -> Iterator[Link]:
        """Those of the text, none of navigation and of pages that are an index."""
        found = [
            element
            for element in self._soup.find_all("a", href=True)
            if not any(_is_chrome(parent) for parent in (element, *element.parents))
        ]
        linked_length = sum(len(element.get_text(strip=True)) for element in found)
        if linked_length > _MOST_LINKED * len(self._soup.get_text(strip=True)):
            return
        for element in found:
            address, fragment = urldefrag(str(element["href"]))
            parts = urlsplit(address)
            text = clean_line(element.get_text())
            if parts.scheme or parts.netloc or not text:
                continue
            target = posixpath.join(posixpath.dirname(self._source), unquote(parts.path))
            is_here = not parts.path
            if fragment or not is_here:
                source = self._source if is_here else posixpath.normpath(target)
                yield Link(text, source, unquote(fragment))


def read_page(source: str) -> HtmlPage | None:
    """Read the page of a document's source file, HTML or Markdown; None where there is none."""
    path = Path(source)
    suffix = path.suffix.lower()
    try:
        if suffix in {".html", ".htm", ".xhtml"}:
            return HtmlPage(source, clean_text(decode_html(path.read_bytes())))
        if suffix in {".md", ".markdown", ".mdown", ".mdx"}:
            from markdown_it import MarkdownIt

            text = clean_text(decode_text(path.read_bytes()))
            return HtmlPage(source, MarkdownIt("commonmark").enable("table").render(text))
    except (OSError, UnreadableContent):
        # Gone or broken since it was ingested: it gives no queries.
        return None
    return None


def _describe_anchor(element: Tag) -> Anchor | None:
    if element.name == "dt":
        return Anchor(term=squash(element.get_text()))
    if element.name in _HEADINGS:
        return Anchor(heading=squash(element.get_text()))
    if element.name == "section" or not _SECTION_CLASSES.isdisjoint(
        element.get_attribute_list("class")
    ):
        heading = element.find(_HEADINGS)
        return Anchor(heading=squash(heading.get_text())) if isinstance(heading, Tag) else None
    if element.name in {"span", "a"} and not element.get_text(strip=True):
        # An empty mark stands for what it is in, or for what comes next.
        parent = element.find_parent(["dt", *_HEADINGS])
        if parent is not None:
            return _describe_anchor(parent)
        following = _next_element(element)
        return None if following is None else _describe_anchor(following)
    return None


def _next_element(element: Tag) -> Tag | None:
    for sibling in element.next_siblings:
        if isinstance(sibling, Tag):
            is_described = sibling.name in {"dt", "section", *_HEADINGS}
            return sibling if is_described else None
        if isinstance(sibling, NavigableString) and sibling.strip():
            return None
    return None


def _is_chrome(tag: Tag) -> bool:
    return (
        tag.name in _CHROME_ELEMENTS
        or not _CHROME_CLASSES.isdisjoint(tag.get_attribute_list("class"))
        or tag.get("role") == "navigation"
    )
