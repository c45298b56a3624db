"""The programs of other people that the gateway's benchmark needs: nginx and wrk."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = {"nginx": "nginx-light", "wrk": "wrk"}
_SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin"
"""Where nginx lies; not on everyone's PATH."""


class ToolsMissing(Exception):
    """A program is not installed; the message names the packages."""


@dataclass(frozen=True)
class LoadTools:
    nginx: Path
    wrk: Path


def find_load_tools() -> LoadTools:
    """Return where the programs are.

    Raises:
        ToolsMissing: one is not installed; `make bench` installs them where it may.
    """
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
