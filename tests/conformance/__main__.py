"""Runs the conformance tests and writes what they found: `python -m tests.conformance`.

Further arguments go to pytest, as in `-k openai`; `--page FILE` writes another file.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.table import (
    ANY_KIND,
    FOLDER,
    KINDS,
    PAGE,
    TEST_OF_THE_PAGE,
    Row,
    subject_of,
    title_of,
    write_page,
)


class Collector:
    """A plugin of pytest that notes how every test went."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.measured: dict[str, list[str]] = {}
        self._places: dict[str, tuple[Row, str]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if not isinstance(item, pytest.Function):
                continue
            key = subject_of(item.module.__doc__ or ""), title_of(item.originalname)
            row = self.rows.setdefault(key, Row(*key))
            self._places[item.nodeid] = row, _kind_of(item)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row, kind = self._places[report.nodeid]
        if report.failed or report.skipped:
            row.not_passed[kind] = "failed" if report.failed else "skipped"
        elif report.when == "call":
            row.passed[kind] = row.passed.get(kind, 0) + 1
            for name, value in report.user_properties:
                if not name.startswith("hypothesis"):
                    self.measured.setdefault(name, []).append(str(value))


def _kind_of(item: pytest.Function) -> str:
    if "test_llamacpp" in item.nodeid:
        return "llamacpp"
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    kind = getattr(parameters.get("recorder"), "kind", ANY_KIND)
    return kind if kind in KINDS else ANY_KIND


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments, for_pytest = parser.parse_known_args()
    collector = Collector()
    status = pytest.main(
        [str(FOLDER), f"--ignore={TEST_OF_THE_PAGE}", "-q", *for_pytest], plugins=[collector]
    )
    arguments.page.write_text(write_page(list(collector.rows.values()), collector.measured))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
