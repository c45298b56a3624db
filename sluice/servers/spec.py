"""What the supervisor needs to know of one process."""

import re
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Probe = Callable[[], Coroutine[Any, Any, None]]
"""Returns once the process answers as it should; raises `NotReady` with the reason otherwise."""


class NotReady(Exception):
    """The process does not answer yet; the message says what was seen."""


@dataclass(frozen=True)
class ProcessSpec:
    """One process: how it is started, told to be ready, and stopped."""

    name: str
    command: tuple[str, ...]
    probe: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own environment."""
    working_dir: Path = field(default_factory=Path.cwd)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 6.0
    """After this long the process is killed."""
    ready_seconds: float = 90.0
    liveness: Probe | None = None
    """Asked now and then while it runs; where it fails several times in a row, the process is
    started again. For what a process can say of itself and not mend."""
    routine_lines: re.Pattern[str] | None = None
    """Output that says nothing to a person; not shown."""
