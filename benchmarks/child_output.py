"""Runs a module of the benchmarks in a process of its own."""

import subprocess
import sys

from benchmarks.figures import InvariantBroken

_SECONDS = 3600.0


def run_module(module: str, order: bytes) -> list[bytes]:
    """Run `python -m MODULE` with `order` as its input; return the lines that it prints.

    Raises:
        InvariantBroken: it failed, or took an hour.
    """
    try:
        result = subprocess.run(
            [sys.executable, "-m", module],
            input=order,
            capture_output=True,
            check=True,
            timeout=_SECONDS,
        )
    except subprocess.SubprocessError as error:
        detail = getattr(error, "stderr", None) or b""
        raise InvariantBroken(f"{module} failed: {error}\n{detail.decode()[-2000:]}") from error
    return result.stdout.splitlines()
