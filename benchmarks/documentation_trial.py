"""Ingests a real documentation set and asks it ten questions.

    python -m benchmarks.documentation_trial [FOLDER]

The default set is Debian's package `python3.11-doc`. The questions are put to the built-in model
`extractive` of a platform of its own, so what is shown is what a first user sees.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import requests

from tests.support.stack import PlatformStack, running_platform

_DEFAULT_FOLDER = Path("/usr/share/doc/python3.11/html")
_REPORT = Path(__file__).parent / "results" / "documentation.md"
_SHOWN_SOURCES = 3

QUESTIONS = (
    "How do I open a file and read it line by line?",
    "How can I get the n largest items of a list with a heap?",
    "How do I run several coroutines concurrently with a timeout?",
    "How do I read a CSV file into dictionaries?",
    "What is the difference between a shallow copy and a deep copy?",
    "How do I measure the execution time of a small code snippet?",
    "Why do default argument values keep their contents between calls?",
    "How do I parse command line options with subcommands?",
    "How can I send a HTTP request and read the response?",
    "How do I write a context manager with a generator function?",
)


@dataclass(frozen=True)
class Answer:
    """One question's sources, best first, and how long the answer took."""

    question: str
    sources: tuple[str, ...]
    seconds: float


@click.command()
@click.argument(
    "folder",
    default=_DEFAULT_FOLDER,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
def main(folder: Path) -> None:
    """Ingest FOLDER and write the answers' sources to results/documentation.md."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-trial-") as data,
        running_platform(Path(data)) as stack,
    ):
        started = time.monotonic()
        ingest = stack.sluice("ingest", str(folder))
        ingest_seconds = time.monotonic() - started
        if ingest.returncode != 0:
            raise click.ClickException(ingest.stderr)
        summary = next(line for line in ingest.stdout.splitlines() if "documents added" in line)
        answers = [_ask(stack, question, folder) for question in QUESTIONS]
    report = _report(folder, summary, ingest_seconds, answers)
    _REPORT.write_text(report)
    click.echo(report)


def _ask(stack: PlatformStack, question: str, folder: Path) -> Answer:
    body = {"model": "extractive", "messages": [{"role": "user", "content": question}]}
    started = time.monotonic()
    reply = requests.post(
        f"{stack.endpoints['gateway']}/v1/chat/completions", json=body, timeout=30
    )
    seconds = time.monotonic() - started
    reply.raise_for_status()
    sources = tuple(
        " > ".join([str(Path(each["source"]).relative_to(folder.resolve())), *each["heading_path"]])
        for each in reply.json()["sources"]
    )
    return Answer(question, sources[:_SHOWN_SOURCES], seconds)


def _report(folder: Path, summary: str, ingest_seconds: float, answers: list[Answer]) -> str:
    lines = [
        "# Ten questions to a real documentation set",
        "",
        f"`{folder}`: {summary} in {ingest_seconds:.0f} s.",
        "",
        "| question | sources of the answer, best first | seconds |",
        "|---|---|---|",
    ]
    for answer in answers:
        sources = "<br>".join(answer.sources) or "none"
        lines.append(f"| {answer.question} | {sources} | {answer.seconds:.2f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
