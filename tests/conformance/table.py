"""What the conformance tests found, as the page `docs/conformance.md`."""

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent
TEST_OF_THE_PAGE = FOLDER / "test_published_table.py"
PAGE = FOLDER.parents[1] / "docs" / "conformance.md"

KINDS = {"vllm": "vLLM", "llamacpp": "llama.cpp", "lmstudio": "LM Studio"}
ANY_KIND = "any"
"""Of a test that does not depend on the kind of the backend."""

_INTRODUCTION = """\
# Conformance

What the official clients see through the gateway, by the kind of the backend. The table is
written by the tests themselves; to repeat it:

    .venv/bin/python -m tests.conformance

A figure is the number of cases that passed. The answers of vLLM, llama.cpp and LM Studio are
recorded ones: made in each server's documented format (`tests/support/recorded_answers`) and played
byte for byte by a scripted server. llama.cpp's format is also compared with a real llama.cpp
server, which the tests of that name talk to; vLLM and LM Studio themselves did not run here.
`any` stands for tests that try all formats at once, or depend on none.

Hypothesis tries the same streams each time; `SLUICE_CONFORMANCE_EXAMPLES=5000` has it try as many
others for each property. `SLUICE_CONFORMANCE_BODIES=100000` is the number of odd bodies.
"""


@dataclass
class Row:
    """One check, and how it went for each kind."""

    subject: str
    check: str
    passed: dict[str, int] = field(default_factory=dict)
    not_passed: dict[str, str] = field(default_factory=dict)
    """`failed` or `skipped` by kind."""

    def cell(self, kind: str) -> str:
        if kind in self.not_passed:
            return f"**{self.not_passed[kind]}**"
        return str(self.passed[kind]) if kind in self.passed else ""


def title_of(name: str) -> str:
    """Return a test function's name as words."""
    return name.removeprefix("test_").replace("_", " ")


def write_page(rows: Sequence[Row], measured: Mapping[str, Iterable[str]]) -> str:
    """Return the page.

    Args:
        measured: lines by heading.
    """
    lines = [_INTRODUCTION]
    subject = None
    for row in rows:
        if row.subject != subject:
            subject = row.subject
            lines += [f"\n## {subject}\n", _line(["check", *KINDS.values(), ANY_KIND])]
            lines.append(_line(["---", *["---:"] * (len(KINDS) + 1)]))
        lines.append(_line([row.check, *(row.cell(kind) for kind in (*KINDS, ANY_KIND))]))
    if measured:
        lines.append("\n## Measured by these tests\n")
        lines += [f"- {name}: {', '.join(values)}" for name, values in measured.items()]
    return "\n".join(lines) + "\n"


def checks_in(folder: Path = FOLDER) -> set[tuple[str, str]]:
    """Return subject and check of every test function in `folder`, read from the source."""
    found = set()
    for file in set(folder.glob("test_*.py")) - {TEST_OF_THE_PAGE}:
        module = ast.parse(file.read_text())
        for node in module.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                "test_"
            ):
                found.add((subject_of(ast.get_docstring(module) or ""), title_of(node.name)))
    return found


def checks_on(page: str) -> dict[tuple[str, str], list[str]]:
    """Return the cells of the page's rows, by subject and check."""
    found = {}
    subject = ""
    for line in page.splitlines():
        if line.startswith("## "):
            subject = line.removeprefix("## ")
        elif line.startswith("|") and not line.startswith(("| check |", "| --- |")):
            check, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            found[subject, check] = cells
    return found


def subject_of(docstring: str) -> str:
    """Return the first sentence of a module's docstring."""
    return docstring.partition("\n\n")[0].replace("\n", " ").rstrip(".")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
