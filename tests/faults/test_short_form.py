"""The short form of the soak: hosts cut off and stopped, then every sort of fault, then the audit.

`make test-faults` is the long one.
"""

import json
import secrets
import subprocess
import sys
from typing import Any

import pytest

from tests.faults.requirements import require

_SECONDS = 800

pytestmark = [pytest.mark.stack, pytest.mark.timeout(_SECONDS + 60)]


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The verdict on one run, in a process of its own: it moves to another network."""
    require()
    folder = tmp_path_factory.mktemp("faults")
    seed = secrets.randbelow(1_000_000)
    print(f"seed {seed}: repeat with `python -m tests.faults --short --seed {seed}`")
    result = folder / "verdict.json"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "tests.faults", "--short"),
            *("--seed", str(seed), "--folder", str(folder), "--result", str(result)),
        ],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    print(run.stdout)
    assert result.exists(), run.stderr[-5000:]
    return json.loads(result.read_text())


def test_nothing_is_lost_or_doubled_under_every_sort_of_fault(verdict: dict[str, Any]) -> None:
    assert verdict["findings"] == []
    assert verdict["verdict"] == "kept"
    assert verdict["outcomes"]["ok"] > 100
    assert verdict["fault_count"] >= 12


def test_the_gap_in_telemetry_is_counted(verdict: dict[str, Any]) -> None:
    """The reader was cut off for longer than the stream holds figures: it knows how many."""
    telemetry = verdict["telemetry"]
    assert telemetry["missed"] > 0
    assert telemetry["gaps"] > 0
    assert telemetry["received"] + telemetry["missed"] == telemetry["last_sequence"]
