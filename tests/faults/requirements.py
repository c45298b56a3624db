"""What a machine must have for faults to be made on it."""

import os
import shutil
import subprocess
from functools import cache

import pytest

_PROGRAMS = {
    "ip": "iproute2",
    "nft": "nftables",
    "tc": "iproute2",
    "nsenter": "util-linux",
    "strace": "strace",
    "cc": "tcc or gcc",
}


@cache
def missing_requirement() -> str | None:
    """Return why faults cannot be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces and mounts need root"
    for program, package in _PROGRAMS.items():
        if find_program(program) is None:
            return f"{program} is not installed (package {package})"
    probe = subprocess.run(
        ["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False
    )
    if probe.returncode != 0:
        return f"no namespaces may be made here: {probe.stderr.strip()}"
    return None


def find_program(name: str) -> str | None:
    """Return the path of a program; `cc` is any C compiler."""
    names = ("cc", "gcc", "tcc", "clang") if name == "cc" else (name,)
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return next((found for each in names if (found := shutil.which(each, path=path))), None)


def require() -> None:
    """Skip the test where faults cannot be made; in CI that is a failure."""
    reason = missing_requirement()
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
