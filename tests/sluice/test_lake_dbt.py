"""`sluice lake dbt` and `sluice lake docs`: dbt is told where the lake is, and its page is read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.settings import with_liveness
from tests.support.browser import browser_page


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "SLUICE_DATA_DIR": str(tmp_path / "data"),
        "SLUICE_POSTGRES_URL": database_url,
    }


def _sluice_lake(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sluice.cli", "lake", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_settings_name_the_dbt_that_runs(
    environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    recording_double = tmp_path / "dbt-double"
    recording_double.write_text(
        '#!/bin/sh\necho "$SLUICE_DBT_TARGET $SLUICE_POSTGRES_URL $*"\nexit 3\n'
    )
    recording_double.chmod(0o755)
    environment["SLUICE_LAKE_DBT_EXECUTABLE"] = str(recording_double)

    result = _sluice_lake(environment, "dbt", "build", "--select", "marts", "--help")

    assert result.returncode == 3
    assert result.stdout == f"duckdb {with_liveness(database_url)} build --select marts --help\n"


def test_a_dbt_that_is_not_there_is_named(environment: dict[str, str]) -> None:
    environment["SLUICE_LAKE_DBT_EXECUTABLE"] = "/nowhere/dbtf"

    result = _sluice_lake(environment, "dbt", "build")

    assert result.returncode == 1
    assert result.stderr == "Error: there is no /nowhere/dbtf: `dbt_executable` in [lake]\n"


def test_the_documentation_is_a_page_that_a_browser_shows(
    environment: dict[str, str], tmp_path: Path
) -> None:
    page_file = tmp_path / "lake.html"

    result = _sluice_lake(environment, "docs", "--output", str(page_file))

    assert result.returncode == 0, result.stdout + result.stderr
    with browser_page(width=1200, height=900) as page:
        page.goto(f"{page_file.as_uri()}#!/model/model.sluice.retrieval_quality_daily")
        page.get_by_text("What searches found, what of it was injected").first.wait_for()
        page.get_by_text("Share of searches that found something").first.wait_for()
