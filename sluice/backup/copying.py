"""Copies of folders whose files come and go meanwhile."""

import shutil
from pathlib import Path


def copy_tree(source: Path, target: Path) -> None:
    """Copy what `source` holds to `target`, files that are there already excepted by size and age.

    A file that goes away meanwhile is left out. Nothing happens where there is no `source`.
    """
    for file in sorted(source.rglob("*")):
        if not file.is_file():
            continue
        copy = target / file.relative_to(source)
        try:
            if _is_same(file, copy):
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
        except FileNotFoundError:
            # Removed since it was listed: it was not needed any more.
            copy.unlink(missing_ok=True)


def _is_same(file: Path, copy: Path) -> bool:
    if not copy.exists():
        return False
    original, copied = file.stat(), copy.stat()
    return (original.st_size, original.st_mtime_ns) == (copied.st_size, copied.st_mtime_ns)
