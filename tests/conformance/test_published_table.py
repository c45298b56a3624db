"""The published table says what the tests show."""

import subprocess
import sys
from pathlib import Path

from tests.conformance.table import PAGE, checks_in, checks_on


def test_page_has_a_row_for_every_check() -> None:
    """Where it has not: `python -m tests.conformance` writes it anew."""
    on_page = checks_on(PAGE.read_text())
    assert set(on_page) == checks_in()
    assert not [check for check, cells in on_page.items() if "**failed**" in cells]


def test_page_is_written_by_the_command(tmp_path: Path) -> None:
    page = tmp_path / "conformance.md"
    command = [sys.executable, "-m", "tests.conformance", "--page", str(page)]
    done = subprocess.run(
        [*command, "-k", "test_models_and_embeddings"],
        cwd=PAGE.parents[1],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [((subject, check), cells)] = checks_on(page.read_text()).items()
    assert (subject, check) == (
        "Chat completions by OpenAI's Python SDK",
        "models and embeddings",
    )
    assert cells == ["1", "1", "1", ""]
