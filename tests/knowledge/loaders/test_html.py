"""HTML to blocks."""

import pytest

from knowledge.loaders.content import Block
from knowledge.loaders.html import decode_html, read_html

SPHINX_PAGE = """<!DOCTYPE html><html><head><title>heapq — Docs</title>
<style>p {}</style><script>var x = "chrome";</script></head><body>
<div class="related" role="navigation"><a href="x">chrome</a></div>
<div class="document"><div class="body" role="main"><section id="heapq">
<h1><code><span class="pre">heapq</span></code> — Heap queue<a class="headerlink">¶</a></h1>
<p>Implements
a <em>heap</em>: <code>heap[0]</code>.</p>
<dl class="py function"><dt class="sig">heapq.<b>heappush</b>(heap, item)<a class="headerlink">¶</a>
</dt><dd><p>Push it.</p></dd></dl>
<div class="highlight-python3 notranslate"><div class="highlight"><pre><span></span>x = 1
if x:
    print(x)
</pre></div></div></section></div></div>
<div class="sphinxsidebar"><p>chrome</p></div><footer>chrome</footer></body></html>"""


def test_a_sphinx_page_is_its_main_content() -> None:
    content = read_html(SPHINX_PAGE)
    assert content.title == "heapq — Heap queue"
    assert content.blocks == (
        Block("heading", "heapq — Heap queue", level=1),
        Block("paragraph", "Implements a heap: `heap[0]`."),
        Block("paragraph", "heapq.heappush(heap, item)\nPush it."),
        Block("code", "x = 1\nif x:\n    print(x)", language="python3"),
    )


def test_a_docbook_page_loses_its_tables_of_navigation_and_contents() -> None:
    content = read_html(
        "<body><div class='navheader'><table><tr><td>chrome</td></tr></table></div>"
        "<h2 class='title'>7.8. Queries</h2><div class='toc'><dl><dt>chrome</dt></dl></div>"
        "<div class='note'><h3>Note</h3><p>Mind this.</p></div><p>Text.</p></body>"
    )
    assert content.blocks == (
        Block("heading", "7.8. Queries", level=2),
        Block("paragraph", "Note"),
        Block("paragraph", "Mind this."),
        Block("paragraph", "Text."),
    )


def test_terms_stay_with_their_definitions() -> None:
    content = read_html(
        "<dl><dt>gate</dt><dt>door</dt><dd><p>Opens.</p><p>Closes.</p></dd>"
        "<dt>code</dt><dd><pre>x</pre></dd><dt>last</dt></dl><p>After.</p><dl><dt>end</dt></dl>"
    )
    assert content.blocks == (
        Block("paragraph", "gate\ndoor\nOpens."),
        Block("paragraph", "Closes."),
        Block("paragraph", "code"),
        Block("code", "x"),
        Block("paragraph", "last"),
        Block("paragraph", "After."),
        Block("paragraph", "end"),
    )


def test_a_page_that_is_only_a_table_of_contents_keeps_it() -> None:
    content = read_html("<h1>Part I</h1><div class='toc'><ul><li>Chapter 1</li></ul></div>")
    assert Block("list", "- Chapter 1") in content.blocks


def test_html_without_a_body() -> None:
    assert read_html("<p>Alone").blocks == (Block("paragraph", "Alone"),)
    assert read_html("<html><head><title>Only a title</title></head></html>").blocks == ()


def test_tables_and_lists() -> None:
    content = read_html(
        "<table><caption>Sizes</caption><tr><th>Key</th><th>Size</th></tr>"
        "<tr><td>a|b</td><td>1<br>2</td></tr></table>"
        "<ol><li>One<ul><li>Inner</li></ul></li><li>Two</li></ol>"
    )
    assert content.blocks == (
        Block("paragraph", "Sizes"),
        Block("table", "| Key | Size |\n| --- | --- |\n| a\\|b | 1 2 |"),
        Block("list", "1. One\n   - Inner\n2. Two"),
    )


def test_a_table_that_numbers_lines_of_code_is_code() -> None:
    content = read_html(
        '<table class="highlighttable"><tr><td class="linenos"><pre>1</pre></td>'
        '<td class="code"><pre class="language-sql">SELECT 1</pre></td></tr></table>'
    )
    assert content.blocks == (Block("code", "SELECT 1", language="sql"),)


def test_comments_and_hidden_elements_are_not_text() -> None:
    content = read_html("<p>Seen<!-- not --></p><p hidden>not</p><template>not</template>")
    assert content.blocks == (Block("paragraph", "Seen"),)


def test_nesting_that_no_writer_made_is_survived() -> None:
    content = read_html("<div>" * 5000 + "deep words" + "</div>" * 5000)
    assert content.blocks == (Block("paragraph", "deep words"),)
    assert "deep" in str(read_html("<ul><li>" * 2000 + "deep").blocks)


@pytest.mark.parametrize(
    "data",
    [
        "<p>Müller</p>".encode(),
        "<meta charset='iso-8859-1'><p>Müller</p>".encode("latin-1"),
        "<p>Müller</p>".encode("utf-16"),
        "<p>Müller</p>".encode("windows-1252"),
        "<meta charset='utf-8'><p>Müller</p>".encode("windows-1252"),
        "<meta charset='no-such-charset'><p>Müller</p>".encode(),
        "<meta charset='base64'><p>Müller</p>".encode(),
    ],
)
def test_the_charset_is_the_declared_one_or_the_usual_one(data: bytes) -> None:
    assert "<p>Müller</p>" in decode_html(data)
