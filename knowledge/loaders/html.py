"""HTML through Beautiful Soup: the main content, without the page's chrome."""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator

from bs4 import BeautifulSoup
from bs4.dammit import EncodingDetector
from bs4.element import NavigableString, PageElement, PreformattedString, Tag

from knowledge.loaders.content import Block, Content
from knowledge.loaders.decoding import decode_text, detect_byte_order_mark
from knowledge.loaders.tables import format_table
from knowledge.text_cleaning import clean_line, clean_text, collapse_spaces

_CHROME_ELEMENTS = frozenset(
    {"head", "title", "script", "style", "template", "noscript", "iframe", "svg", "canvas",
     "object", "nav", "footer", "form", "button", "select", "input", "textarea", "dialog"}
)  # fmt: skip
_CHROME_ROLES = frozenset({"navigation", "search", "banner", "contentinfo"})
# Permalinks, line numbers and navigation of Sphinx, MkDocs, Docusaurus and DocBook.
_CHROME_CLASSES = frozenset(
    {"headerlink", "hash-link", "anchor-link", "linenos", "lineno", "linenodiv", "sphinxsidebar",
     "related", "navheader", "navfooter", "breadcrumb", "breadcrumbs", "skip-link"}
)  # fmt: skip
_TABLE_OF_CONTENTS_CLASSES = frozenset({"toc", "contents", "table-of-contents"})
_MAIN_CONTENT: tuple[Callable[[Tag], bool], ...] = (
    lambda tag: tag.name == "main",
    lambda tag: tag.get("role") == "main",
    lambda tag: tag.name == "article",
    lambda tag: tag.name == "div" and "body" in _classes(tag),
    lambda tag: tag.get("id") == "content",
)
_CONTENT_ASIDES = frozenset({"admonition", "footnote", "footnote-list", "sidebar", "topic"})
_ADMONITIONS = frozenset({"admonition", "caution", "danger", "important", "note", "tip", "warning"})

_CONTAINERS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl",
     "dt", "fieldset", "figcaption", "figure", "header", "hgroup", "html", "li", "main", "p",
     "section", "summary", "tbody", "td", "tfoot", "th", "thead", "tr", "[document]"}
)  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_INLINE_CODE = frozenset({"code", "kbd", "samp", "tt"})
_STRUCTURED = ["pre", "table", "h1", "h2", "h3", "h4", "h5", "h6", "dl", "blockquote"]
_BLOCKS = _CONTAINERS | {*_STRUCTURED, "ul", "ol"}
_LANGUAGE_CLASS = re.compile(r"(?:language|lang|highlight|brush:)-?(?P<name>[A-Za-z0-9+#_.]+)")
_NO_LANGUAGE = frozenset({"default", "none", "notranslate", "text", "plain", "source"})
_DEEPEST_NESTING = 150
"""Elements nested deeper are read as flat text: documents are not, generated junk may be."""


def decode_html(data: bytes) -> str:
    """Decode by byte order mark, else by the declared charset, else as UTF-8.

    What is none of these is read as windows-1252, the HTML standard's default for such pages.
    """
    if detect_byte_order_mark(data) is not None:
        return decode_text(data)
    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    for encoding in (declared, "utf-8"):
        if encoding is not None and _is_text_codec(encoding):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                continue  # the declaration lies
    return data.decode("windows-1252", errors="replace")


def read_html(markup: str) -> Content:
    """Read title and blocks of a page or of a fragment.

    The title is that of the first `h1`, else the `title` element's.
    """
    soup = BeautifulSoup(markup, "html.parser")
    title_element = soup.find("title")
    page_title = clean_line(title_element.get_text()) if isinstance(title_element, Tag) else ""
    for element in soup.find_all(_is_chrome):
        element.extract()
    tables_of_contents = soup.find_all(_is_table_of_contents)
    placeholders = [(element, soup.new_tag("hr")) for element in tables_of_contents]
    for element, placeholder in placeholders:
        element.replace_with(placeholder)

    main = _find_main_content(soup)
    blocks = _read_blocks(main)
    if not any(block.kind != "heading" for block in blocks) and placeholders:
        # A page that is nothing but a table of contents: better that than nothing.
        for element, placeholder in placeholders:
            placeholder.replace_with(element)
        blocks = _read_blocks(main)

    first_heading = next((b.text for b in blocks if b.kind == "heading" and b.level == 1), "")
    return Content(first_heading or page_title or None, tuple(blocks))


def _is_text_codec(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding)._is_text_encoding
    except LookupError:
        return False


def _is_chrome(tag: Tag) -> bool:
    if tag.name in _CHROME_ELEMENTS:
        return True
    if tag.name == "aside":
        return _CONTENT_ASIDES.isdisjoint(_classes(tag))
    if tag.name == "header":
        # Inside the content a header holds its title and stays.
        return tag.find_parent(["main", "article", "section"]) is None and not tag.find("h1")
    if not tag.attrs:
        return False
    return (
        tag.get("role") in _CHROME_ROLES
        or tag.has_attr("hidden")
        or not _CHROME_CLASSES.isdisjoint(_classes(tag))
    )


def _is_table_of_contents(tag: Tag) -> bool:
    return tag.name in {"div", "aside", "ul", "ol"} and (
        tag.get("id") == "toc" or not _TABLE_OF_CONTENTS_CLASSES.isdisjoint(_classes(tag))
    )


def _find_main_content(soup: BeautifulSoup) -> Tag:
    for is_main in _MAIN_CONTENT:
        found = soup.find_all(is_main)
        # Several are a list of articles: then all of the page is content.
        if len(found) == 1 and found[0].get_text(strip=True):
            return found[0]
    return soup


def _read_blocks(root: Tag) -> list[Block]:
    reader = _BlockReader()
    reader.read(root)
    return reader.finish()


class _BlockReader:
    """Walks elements; text between block borders gathers into one paragraph."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._inline: list[str] = []
        self._terms: list[str] = []

    def read(self, element: Tag, depth: int = 0) -> None:
        for child in element.children:
            if isinstance(child, Tag):
                self._read_tag(child, depth)
            else:
                self._inline.append(_string(child))

    def finish(self) -> list[Block]:
        self._end_paragraph()
        self._end_terms()
        return self._blocks

    def _read_tag(self, tag: Tag, depth: int) -> None:
        if depth > _DEEPEST_NESTING:
            self._inline.append(tag.get_text(" "))
        elif tag.name in _HEADINGS and _is_admonition_title(tag):
            self._add(Block("paragraph", _heading_text(tag)))
        elif tag.name in _HEADINGS:
            self._add(Block("heading", _heading_text(tag), level=_HEADINGS[tag.name]))
        elif tag.name == "pre":
            self._add(Block("code", _code_text(tag), language=_code_language(tag)))
        elif tag.name == "table":
            self._read_table(tag, depth)
        elif tag.name in {"ul", "ol"}:
            self._read_list(tag, depth)
        elif tag.name == "hr":
            self._end_paragraph()
        elif tag.name == "dt" and not _holds_blocks(tag):
            self._end_paragraph()
            self._terms.append(collapse_spaces(clean_text(_inline_text(tag))))
        elif tag.name in _CONTAINERS:
            self._end_paragraph()
            self.read(tag, depth + 1)
            self._end_paragraph()
            if tag.name == "dl":
                self._end_terms()
        elif _holds_blocks(tag):
            self.read(tag, depth + 1)
        else:
            self._inline.append(_inline_text(tag))

    def _read_table(self, table: Tag, depth: int) -> None:
        rows = [row for row in table.find_all("tr") if row.find_parent("table") is table]
        if table.find(["pre", "table", "h1", "h2", "h3"]) or not rows:
            # A table that lays out a page (or numbers the lines of a listing) is no table.
            self._end_paragraph()
            self.read(table, depth + 1)
            self._end_paragraph()
            return
        caption = table.find("caption")
        if isinstance(caption, Tag):
            self._add(Block("paragraph", clean_line(_inline_text(caption))))
        cells = [row.find_all(["td", "th"], recursive=False) for row in rows]
        has_header = rows[0].find_parent("thead") is not None or (
            bool(cells[0]) and all(cell.name == "th" for cell in cells[0])
        )
        texts = [[clean_line(_inline_text(cell)) for cell in row] for row in cells]
        self._add(Block("table", format_table(texts, has_header=has_header)))

    def _read_list(self, element: Tag, depth: int) -> None:
        if element.find(_STRUCTURED):
            self._end_paragraph()
            self.read(element, depth + 1)
            self._end_paragraph()
        else:
            self._add(Block("list", "\n".join(_list_lines(element, depth))))

    def _add(self, block: Block) -> None:
        self._end_paragraph()
        self._end_terms()
        if block.text.strip():
            self._blocks.append(block)

    def _end_paragraph(self) -> None:
        text = collapse_spaces(clean_text("".join(self._inline)))
        self._inline.clear()
        if text:
            # A term or signature and what is said of it must not end in two chunks.
            text = "\n".join((*filter(None, self._terms), text))
            self._terms.clear()
            self._blocks.append(Block("paragraph", text))

    def _end_terms(self) -> None:
        text = "\n".join(filter(None, self._terms))
        self._terms.clear()
        if text:
            self._blocks.append(Block("paragraph", text))


def _classes(tag: Tag) -> list[str]:
    value = tag.get("class")
    return value.split() if isinstance(value, str) else list(value or ())


def _string(element: PageElement) -> str:
    # Comments, doctypes and processing instructions are preformatted strings; text is not.
    if isinstance(element, NavigableString) and not isinstance(element, PreformattedString):
        return str(element).replace("\n", " ")
    return ""


def _is_admonition_title(heading: Tag) -> bool:
    """A note's own title opens no section: what follows the note belongs to the one around it."""
    parent = heading.parent
    return parent is not None and not _ADMONITIONS.isdisjoint(_classes(parent))


def _holds_blocks(tag: Tag) -> bool:
    # `Tag.find` would build a filter for every element of the page.
    return any(isinstance(inner, Tag) and inner.name in _BLOCKS for inner in tag.descendants)


def _inline_text(tag: Tag) -> str:
    """The text of an element, line breaks and code marked; images by alternative text."""
    parts: list[str] = []
    for element in _flatten(tag):
        if isinstance(element, Tag):
            if element.name == "br":
                parts.append("\n")
            elif element.name == "img":
                parts.append(str(element.get("alt") or ""))
            elif element.name in _INLINE_CODE:
                code = clean_line(element.get_text())
                parts.append(f"`{code}`" if code and "`" not in code else code)
            elif element.name in _CONTAINERS:
                parts.append(" ")
        else:
            parts.append(_string(element))
    return "".join(parts)


def _flatten(tag: Tag) -> Iterator[PageElement]:
    """Yield `tag` and its descendants, those of inline code excepted: it is read whole."""
    stack: list[PageElement] = [tag]
    while stack:
        element = stack.pop()
        yield element
        if isinstance(element, Tag) and element.name not in _INLINE_CODE:
            stack.extend(reversed(list(element.children)))


def _heading_text(tag: Tag) -> str:
    parts = (
        str(element.get("alt") or "") if isinstance(element, Tag) else _string(element)
        for element in tag.descendants
        if not isinstance(element, Tag) or element.name == "img"
    )
    return clean_line("".join(parts)).removesuffix("¶").rstrip()


def _code_text(pre: Tag) -> str:
    for line_break in pre.find_all("br"):
        line_break.replace_with("\n")
    return clean_text(pre.get_text()).strip("\n").rstrip()


def _code_language(pre: Tag) -> str:
    code = pre.find("code")
    candidates: Iterable[Tag] = (
        pre,
        *((code,) if isinstance(code, Tag) else ()),
        *list(pre.parents)[:2],
    )
    for candidate in candidates:
        for name in _classes(candidate):
            found = _LANGUAGE_CLASS.fullmatch(name)
            if found and found["name"] not in _NO_LANGUAGE:
                return found["name"]
    return ""


def _list_lines(element: Tag, depth: int, indentation: str = "") -> Iterator[str]:
    """Yield the lines of a list; nested lists are indented under their item."""
    for number, item in enumerate(element.find_all("li", recursive=False), start=1):
        marker = f"{number}. " if element.name == "ol" else "- "
        nested = [
            child
            for child in item.find_all(["ul", "ol"])
            if child.find_parent(["ul", "ol"]) is element
        ]
        if depth > _DEEPEST_NESTING:
            nested = []
        for child in nested:
            child.extract()
        text = clean_line(_inline_text(item))
        if text:
            yield f"{indentation}{marker}{text}"
        for child in nested:
            yield from _list_lines(child, depth + 1, indentation + " " * len(marker))
