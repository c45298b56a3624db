"""A clock that is set: the time of day jumps, monotonic time and sleeping do not."""

import os
import subprocess
import sys
from pathlib import Path

from tests.faults.clocks import build_clock_library, new_clock
from tests.faults.requirements import require

_PROGRAM = """
import time
print("ready", flush=True)
while input():
    before = time.monotonic()
    time.sleep(0.1)
    print(time.time(), time.monotonic() - before, flush=True)
"""


def test_a_running_process_sees_the_step_and_its_end(tmp_path: Path) -> None:
    require()
    clock = new_clock(build_clock_library(tmp_path), tmp_path / "offset")
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, **clock.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        readings = []
        for offset in (0, 3600, -600, 0):
            clock.set_offset(offset)
            process.stdin.write("go\n")
            process.stdin.flush()
            readings.append([float(each) for each in process.stdout.readline().split()])
        process.stdin.write("\n")

    (start, _), (ahead, _), (back, _), (end, _) = readings
    assert 3600 <= ahead - start < 3700
    assert -600 <= back - start < -500
    assert 0 <= end - start < 100
    assert all(0.1 <= slept < 60 for _, slept in readings)
