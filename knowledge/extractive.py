"""The built-in model `extractive`: answers with passages, word for word."""

from collections.abc import Sequence

from knowledge.composition import format_location
from knowledge.near_duplicates import split_near_duplicates
from knowledge.ports import Passage

MAX_QUOTED_PASSAGES = 3
_LONGEST_QUERY = 120

_NEXT_STEPS = (
    "What to do next:\n"
    "- `sluice ingest PATH` adds documents: Markdown, text, HTML and PDF files, or folders of "
    "them.\n"
    "- A `[[backends]]` table in sluice.toml names a server that runs a language model, which "
    "then answers."
)


def select_quotations(passages: Sequence[Passage]) -> list[Passage]:
    """Return the best of `passages`, at most three, none that nearly repeats another."""
    return split_near_duplicates(passages)[0][:MAX_QUOTED_PASSAGES]


def compose_extractive_answer(query: str, quoted: Sequence[Passage]) -> str:
    """Return an answer in Markdown that quotes `quoted`, passages of `select_quotations`.

    The first line says that no language model wrote it. Each quotation is the passage's content,
    unchanged, under its number and place; the sources follow at the end. Without passages the
    answer says so and names what to do.
    """
    if not quoted:
        return "\n\n".join((_describe_miss(query), _NEXT_STEPS))
    parts = [
        "No language model is configured: these are verbatim passages from the ingested documents "
        "that match your message best."
    ]
    for number, passage in enumerate(quoted, start=1):
        location = format_location(passage.title, passage.heading_path)
        parts.extend((f"**[{number}] {location}**", passage.content))
    sources = (f"[{number}] {passage.source}" for number, passage in enumerate(quoted, start=1))
    # Two spaces before a line break keep it a line break in rendered Markdown.
    parts.extend(("---", "Sources:  \n" + "  \n".join(sources)))
    return "\n\n".join(parts)


def _describe_miss(query: str) -> str:
    words = " ".join(query.split())
    if not words:
        return (
            "No language model is configured, and your message holds no text to look up in the "
            "ingested documents."
        )
    shown = words if len(words) <= _LONGEST_QUERY else f"{words[:_LONGEST_QUERY].rstrip()}…"
    return (
        f"No language model is configured, and no ingested document holds a passage on “{shown}”."
    )
