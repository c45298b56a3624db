"""A checkout of the platform's own, so that a test may run it with its default data folder."""

import shutil
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = (
    "contracts",
    "knowledge",
    "encoder",
    "gateway",
    "resources",
    "sensors",
    "assets",
    "sluice",
    "platform",
    "dbt",
)
_FILES = ("workspace.yaml", "dagster.yaml", "pyproject.toml")


def copy_checkout(folder: Path) -> Path:
    """Copy the rooms into `folder` and return it: `python -m sluice.cli` there runs the copy."""
    for room in _ROOMS:
        shutil.copytree(
            PROJECT_ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in _FILES:
        shutil.copy(PROJECT_ROOT / file, folder / file)
    return folder
