"""The supervisor, with small real processes."""

import asyncio
import os
import re
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from sluice.servers.spec import NotReady, ProcessSpec
from sluice.supervisor import ProcessFailed, Supervisor


class Log:
    """Collects the lines that the supervisor passes on."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def of(self, name: str) -> list[str]:
        return [line for each, line in self.lines if each == name]


async def _always_ready() -> None:
    pass


def _python(name: str, code: str, **options: object) -> ProcessSpec:
    command = (sys.executable, "-u", "-c", code)
    return ProcessSpec(name=name, command=command, **{"probe": _always_ready, **options})  # type: ignore[arg-type]


def _ready_when_exists(file: Path) -> object:
    async def probe() -> None:
        if not file.exists():
            raise NotReady(f"{file} is not there")

    return probe


SLEEP = "import time; print('up'); time.sleep(60)"


async def test_start_waits_for_readiness_and_passes_output_on(tmp_path: Path) -> None:
    log, mark = Log(), tmp_path / "mark"
    code = f"import time; print('hello'); time.sleep(.3); open({str(mark)!r}, 'w'); time.sleep(60)"
    supervisor = Supervisor(log)

    await supervisor.start([_python("one", code, probe=_ready_when_exists(mark))])
    assert mark.exists()
    await supervisor.stop()

    assert log.of("one") == ["hello"]


async def test_a_process_that_ends_at_its_start_is_reported() -> None:
    async def never_ready() -> None:
        raise NotReady("no")

    supervisor = Supervisor(Log())

    with pytest.raises(ProcessFailed, match="one ended with code 3"):
        await supervisor.start([_python("one", "raise SystemExit(3)", probe=never_ready)])
    await supervisor.stop()


async def test_a_process_that_never_gets_ready_is_reported_with_the_reason(
    tmp_path: Path,
) -> None:
    supervisor = Supervisor(Log())
    probe = _ready_when_exists(tmp_path / "never")

    with pytest.raises(ProcessFailed, match="never is not there"):
        await supervisor.start([_python("one", SLEEP, probe=probe, ready_seconds=0.3)])
    await supervisor.stop()


async def test_groups_stop_in_reverse_order(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    code = (
        "import signal, sys, time\n"
        f"def end(*_): open({str(ended)!r}, 'a').write(sys.argv[0] + NAME + '\\n'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up'); time.sleep(60)"
    )
    log = Log()
    supervisor = Supervisor(log)
    for name in ("data", "service"):
        await supervisor.start([_python(name, f"NAME = {name!r}\n{code}")])
    while len(log.lines) < 2:
        await asyncio.sleep(0.02)

    await supervisor.stop()

    assert ended.read_text().split() == ["-cservice", "-cdata"]


async def test_a_process_that_does_not_stop_is_killed_with_its_children() -> None:
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid); time.sleep(60)"
    )
    log = Log()
    supervisor = Supervisor(log)
    await supervisor.start([_python("stubborn", code, stop_seconds=0.3)])
    while not log.of("stubborn"):
        await asyncio.sleep(0.02)
    child = int(log.of("stubborn")[0])

    await supervisor.stop()

    await asyncio.sleep(0.1)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


async def test_a_process_that_dies_is_started_again() -> None:
    log = Log()
    supervisor = Supervisor(log)
    await supervisor.start([_python("one", "import os, time; print(os.getpid()); time.sleep(60)")])
    while not log.of("one"):
        await asyncio.sleep(0.02)
    first = int(log.of("one")[0])

    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while len(pids := [line for line in log.of("one") if line.isdigit()]) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await supervisor.stop()

    assert int(pids[1]) != first
    assert not psutil.pid_exists(int(pids[1]))


async def test_routine_lines_are_not_shown() -> None:
    log = Log()
    supervisor = Supervisor(log)
    code = "print('checking 1'); print('failed'); print('checking 2'); print('done')"
    spec = _python(
        "one", code + "; import time; time.sleep(60)", routine_lines=re.compile("^check")
    )
    await supervisor.start([spec])
    while "done" not in log.of("one"):
        await asyncio.sleep(0.02)
    await supervisor.stop()

    assert log.of("one") == ["failed", "done"]
