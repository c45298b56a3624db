"""Installs programs in environments of their own, in the versions locked beside this file."""

import hashlib
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from sluice.servers.dagster import PROJECT_ROOT

_LOCKS = Path(__file__).parent
_ENVIRONMENTS = PROJECT_ROOT / ".venv" / "peers"
_MARKER = "installed"
_SECONDS = 600


class PeerMissing(Exception):
    """The peer cannot be installed here; the message says why."""


def install_python_peer(name: str) -> Path:
    """Return the folder of the programs of the environment that `NAME.lock` describes.

    Raises:
        PeerMissing: the packages cannot be had.
    """
    lock = _LOCKS / f"{name}.lock"
    folder = _ENVIRONMENTS / f"{name}-{_digest(lock)}"
    if not (folder / _MARKER).exists():
        uv = Path(sysconfig.get_path("scripts")) / "uv"
        _run([str(uv), "venv", "--quiet", "--clear", str(folder)])
        install = [str(uv), "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
        _run([*install, "--python", str(folder), "--requirements", str(lock)])
        (folder / _MARKER).touch()
    return folder / "bin"


def install_node_peer(name: str) -> Path:
    """Return the folder of the modules of the lock file in `NAME/`.

    Raises:
        PeerMissing: npm is not installed, or the packages cannot be had.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise PeerMissing("npm is not installed")
    locks = _LOCKS / name
    folder = _ENVIRONMENTS / f"{name}-{_digest(locks / 'package-lock.json')}"
    if not (folder / _MARKER).exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(locks, folder)
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], working_dir=folder)
        (folder / _MARKER).touch()
    return folder / "node_modules"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _run(command: Sequence[str], *, working_dir: Path | None = None) -> None:
    # VIRTUAL_ENV would name the benchmark's own environment.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    try:
        subprocess.run(
            command,
            cwd=working_dir,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise PeerMissing(error.stderr.strip()[-500:] or f"{command[0]} failed") from error
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(f"{command[0]} took longer than {_SECONDS} s") from error
