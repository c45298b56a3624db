"""Files that only their owner may read."""

import os
from pathlib import Path


def write_private(file: Path, content: bytes, *, must_be_new: bool = False) -> None:
    """Write `content` with mode 0600, making the folder where it is missing.

    Raises:
        FileExistsError: `must_be_new`, and it is there.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if must_be_new else os.O_TRUNC)
    descriptor = os.open(file, flags, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
