"""Source pages of the corpus read again, for what the loaders flatten: anchors and links."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag
from markdown_it import MarkdownIt

from knowledge.evaluation.corpus import squash
from knowledge.loaders.content import UnreadableContent
from knowledge.loaders.decoding import decode_text
from knowledge.loaders.html import decode_html
from knowledge.text_cleaning import clean_line, clean_text

_HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
_MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".mdown", ".mdx"})
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


@dataclass(frozen=True)
class HtmlPage:
    """A page's anchors and links."""

    anchors: Mapping[str, Anchor]
    """By ID: sections, headings, signatures and terms. Other IDs stand for nothing here."""
    links: Sequence[Link]
    """Those of the text, none of navigation and of pages that are an index."""


def read_page(source: str) -> HtmlPage | None:
    """Read the page of a document's source file, HTML or Markdown; None where there is none."""
    path = Path(source)
    suffix = path.suffix.lower()
    try:
        if suffix in _HTML_SUFFIXES:
            markup = clean_text(decode_html(path.read_bytes()))
        elif suffix in _MARKDOWN_SUFFIXES:
            text = clean_text(decode_text(path.read_bytes()))
            markup = MarkdownIt("commonmark").enable("table").render(text)
        else:
            return None
    except (OSError, UnreadableContent):
        # Gone or broken since it was ingested: it gives no queries.
        return None
    return parse_page(source, markup)


def parse_page(source: str, markup: str) -> HtmlPage:
    """Return the anchors and links of `markup`, found at `source`."""
    soup = BeautifulSoup(markup, "html.parser")
    for element in soup.find_all(class_="headerlink"):
        element.decompose()
    anchors = {}
    for element in soup.find_all(id=True):
        anchor = _describe_anchor(element)
        if anchor is not None:
            anchors[str(element["id"])] = anchor
    return HtmlPage(anchors, list(_find_links(source, soup)))


def _find_links(source: str, soup: BeautifulSoup) -> Iterator[Link]:
    found = [
        element
        for element in soup.find_all("a", href=True)
        if not any(_is_chrome(parent) for parent in (element, *element.parents))
    ]
    linked_length = sum(len(element.get_text(strip=True)) for element in found)
    if linked_length > _MOST_LINKED * len(soup.get_text(strip=True)):
        return
    folder = posixpath.dirname(source)
    for element in found:
        address, fragment = urldefrag(str(element["href"]))
        parts = urlsplit(address)
        text = clean_line(element.get_text())
        if parts.scheme or parts.netloc or not text:
            continue
        if parts.path:
            target = posixpath.normpath(posixpath.join(folder, unquote(parts.path)))
            yield Link(text, target, unquote(fragment))
        elif fragment:
            yield Link(text, source, unquote(fragment))


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
