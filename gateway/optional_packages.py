"""Keeps packages out of memory that libraries import only because they are installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """Have imports of these packages fail meanwhile, as if they were not installed.

    What imports them must be able to do without. Packages that are imported already stay.
    """
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]
    absent = [name for name in names if name not in modules]
    # None: the import system's way to say that there is none (Python reference, section 5.3.1).
    modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del modules[name]
