"""What the generated pages have in common."""

import ast
import inspect
import re
from collections.abc import Iterable, Sequence
from functools import cache
from types import ModuleType


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, empty where there are no rows."""
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines]) + "\n"


def code(text: str) -> str:
    """Return the text as code, nothing for nothing."""
    return f"`{text}`" if text else ""


def one_line(text: str | None) -> str:
    """Return a docstring as one line of Markdown."""
    return re.sub(r"\s+", " ", text or "").strip()


@cache
def field_docs(module: ModuleType) -> dict[tuple[str, str], str]:
    """Return what the source says below each field of the module's classes.

    The key is the class and the field, the value the string that follows it.
    """
    docs = {}
    for each in ast.parse(inspect.getsource(module)).body:
        if not isinstance(each, ast.ClassDef):
            continue
        for statement, following in zip(each.body, each.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                docs[each.name, statement.target.id] = one_line(str(following.value.value))
    return docs


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
