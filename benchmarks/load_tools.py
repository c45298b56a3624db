"""The programs of other people that the gateway's benchmark needs: nginx and wrk."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = {"nginx": "nginx-light", "wrk": "wrk"}
_SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin"
"""Where nginx lies; not on everyone's PATH."""
_INSTALL_SECONDS = 120


class ToolsMissing(Exception):
    """A program is not installed and cannot be; the message names the packages."""


@dataclass(frozen=True)
class LoadTools:
    nginx: Path
    wrk: Path


def find_load_tools() -> LoadTools:
    """Return where the programs are, after installing them where we may.

    Raises:
        ToolsMissing: one is missing, and we are not root or have no apt.
    """
    missing = _missing_packages()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        _install(missing)
        missing = _missing_packages()
    if missing:
        raise ToolsMissing(
            f"the benchmark of the gateway needs the packages {' and '.join(missing)}:"
            f" `sudo apt-get install {' '.join(missing)}`"
        )
    return LoadTools(nginx=Path(_find("nginx") or ""), wrk=Path(_find("wrk") or ""))


def has_load_tools() -> bool:
    """Return whether the programs are there, without installing anything."""
    return not _missing_packages()


def _missing_packages() -> list[str]:
    return [package for program, package in _PACKAGES.items() if _find(program) is None]


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}")


def _install(packages: list[str]) -> None:
    result = subprocess.run(
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages],
        # The run level of a machine under maintenance: the package must not start its service.
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        raise ToolsMissing(
            f"`apt-get install {' '.join(packages)}` failed; `apt-get update` may help:\n"
            f"{result.stderr.strip()[-1000:]}"
        )
