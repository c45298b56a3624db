"""Link texts as queries: what one page calls what another page says."""

from collections.abc import Iterator, Sequence
from uuid import UUID

import numpy as np

from knowledge.evaluation.corpus import Corpus, CorpusChunk, squash
from knowledge.evaluation.html_pages import Anchor, HtmlPage, Link, read_page
from knowledge.evaluation.item_texts import LARGEST_SECTION, is_telling, merge_items
from knowledge.evaluation.query_sets import KNOWN_ITEM_GRADE, EvaluationQuery

_SEED = 1945
_MOST_OF_A_PAGE = 10
"""Links: a page that links a lot is not to outweigh the others."""


def find_link_texts(corpus: Corpus, *, limit: int) -> list[EvaluationQuery]:
    """Return the texts of links that say something other than the target's title or heading.

    Relevant are the chunks of the section, definition or page that is linked; the chunks that
    hold the link are excluded. Pages are read in a random but fixed order until there are
    enough.
    """
    return _LinkReader(corpus).read(limit)


class _LinkReader:
    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._pages: dict[str, HtmlPage | None] = {}

    def read(self, limit: int) -> list[EvaluationQuery]:
        sources = sorted(self._corpus.chunks_of_source)
        order = np.random.default_rng(_SEED).permutation(len(sources))
        items: list[EvaluationQuery] = []
        for index in order:
            items += self._read_page(sources[index])
            if len({item.text for item in items}) >= limit:
                break
        return merge_items(items)

    def _read_page(self, source: str) -> list[EvaluationQuery]:
        page = self._page(source)
        items: list[EvaluationQuery] = []
        for link in page.links if page else ():
            if len(items) == _MOST_OF_A_PAGE:
                break
            if is_telling(link.text):
                items.extend(self._make_query(source, link))
        return items

    def _make_query(self, source: str, link: Link) -> Iterator[EvaluationQuery]:
        relevant = self._find_target(link)
        text = squash(link.text)
        if not 0 < len(relevant) <= LARGEST_SECTION:
            return
        if any(text in heading for chunk in relevant for heading in chunk.squashed_headings):
            return
        excluded = frozenset(
            chunk.chunk_id
            for chunk in self._corpus.chunks_of_source[source]
            if text in chunk.squashed_content
        )
        grades: dict[UUID, int] = {
            chunk.chunk_id: KNOWN_ITEM_GRADE for chunk in relevant if chunk.chunk_id not in excluded
        }
        if grades:
            yield EvaluationQuery(link.text, grades, excluded)

    def _find_target(self, link: Link) -> Sequence[CorpusChunk]:
        chunks = self._corpus.chunks_of_source.get(link.source, ())
        if not link.fragment or not chunks:
            return chunks
        page = self._page(link.source)
        anchor = page.anchors.get(link.fragment) if page else None
        if anchor is None:
            # Markdown's headings bear their own text as ID.
            anchor = Anchor(heading=squash(link.fragment))
        if anchor.term:
            return [chunk for chunk in chunks if anchor.term in chunk.squashed_lines]
        return [chunk for chunk in chunks if anchor.heading in chunk.squashed_headings]

    def _page(self, source: str) -> HtmlPage | None:
        if source not in self._pages:
            self._pages[source] = read_page(source)
        return self._pages[source]
