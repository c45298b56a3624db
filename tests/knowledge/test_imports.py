"""What the gateway imports at its start stays light."""

import subprocess
import sys

MODULES = ("composition", "extractive", "near_duplicates", "ports", "queries", "hybrid_search")
HEAVY = ("bs4", "markdown_it", "pypdf", "knowledge.loaders", "dagster", "starlette", "aiohttp")


def test_answering_loads_no_parser() -> None:
    imports = ", ".join(f"knowledge.{module}" for module in MODULES)
    program = f"import sys, {imports}; print([m for m in {HEAVY!r} if m in sys.modules])"
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert finished.stdout.strip() == "[]"


def test_storing_loads_no_parser() -> None:
    program = (
        "import sys, knowledge.document_store; "
        "print([m for m in ('bs4', 'markdown_it', 'pypdf') if m in sys.modules])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert finished.stdout.strip() == "[]"
