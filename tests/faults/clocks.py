"""Clocks that can be set: a library preloaded into a process adds an offset to its time of day.

Debian's libfaketime cannot serve: it takes sleeping for a matter of the time of day too, so that
`time.sleep` fails in Python. A program that asks the kernel itself, as Go's do, is not reached:
nats-server's clock stays.
"""

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.faults.requirements import find_program

_SOURCE = Path(__file__).with_name("clock.c")
_FORMAT = "q"


@dataclass(frozen=True)
class Clock:
    """The time of day of the processes that are started with `environment`."""

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "CLOCK_OFFSET_FILE": str(self.file)}

    def set_offset(self, seconds: int) -> None:
        """Step the clock to so many seconds ahead of the machine's, at once."""
        with self.file.open("r+b") as file:
            file.write(struct.pack(_FORMAT, seconds))


def build_clock_library(folder: Path) -> Path:
    """Compile the library that sets clocks; return its path."""
    compiler = find_program("cc")
    if compiler is None:
        raise FileNotFoundError("a C compiler")
    library = folder / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
    return library


def new_clock(library: Path, file: Path) -> Clock:
    """Return a clock that shows the machine's time until it is set."""
    file.write_bytes(struct.pack(_FORMAT, 0))
    return Clock(library, file)
