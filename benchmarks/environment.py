"""Keeps the operator's own settings out of a benchmark."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from contracts.settings import CONFIG_VARIABLE

_FOREIGN = ("DATABASE_URL", "NATS_URL", "DAGSTER_HOME")


@contextmanager
def only_these_settings(
    folder: Path, variables: Mapping[str, str], *, configuration: str = ""
) -> Iterator[None]:
    """Let this process and its children see `variables` and `configuration` as settings.

    Without this, a `DATABASE_URL` in the caller's shell would send the benchmark's rows there.

    Args:
        configuration: content of the settings file, TOML.
    """
    before = dict(os.environ)
    config_file = folder / "sluice.toml"
    config_file.write_text(configuration)
    for name in before:
        if name.startswith("SLUICE_") or name in _FOREIGN:
            del os.environ[name]
    os.environ.update({CONFIG_VARIABLE: str(config_file), **variables})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
