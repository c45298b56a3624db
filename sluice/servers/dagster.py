"""Dagster's three processes: code location, webserver and daemon."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psycopg

from sluice.servers.probes import http_probe, tcp_probe
from sluice.servers.spec import NotReady, Probe, ProcessSpec

PROJECT_ROOT = Path(__file__).resolve().parents[2]
_LOCATION = "sluice"
_STOP_SECONDS = 4.0
_ROUTINE_LINES = re.compile(
    r"Checking for new runs|skipped: .*(no events wait|is in flight)|Collected \d+ runs"
    r"|Checking run |refreshing$|Instance is configured with|Launched \d+ runs| - DEBUG - "
    r"|Priority sorting"
)


class DagsterSetupError(Exception):
    """Dagster's storage could not be brought up to date."""


@dataclass(frozen=True)
class DagsterServers:
    """One Dagster instance with its home in `home` and its storage in PostgreSQL."""

    home: Path
    port: int
    storage_url: str
    code_port: int
    environment: dict[str, str]
    host: str = "127.0.0.1"
    """That webserver and code location listen on."""
    code_host: str = "127.0.0.1"
    """Where the others reach the code location."""

    def prepare(self) -> None:
        """Write the instance's files and create or migrate its storage.

        Raises:
            DagsterSetupError: Dagster could not migrate its storage.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT_ROOT / "dagster.yaml", self.home / "dagster.yaml")
        self._workspace.write_text(json.dumps(self._workspace_content()))
        if not self.is_prepared:
            self._migrate_storage()

    @property
    def is_prepared(self) -> bool:
        """Whether this release of Dagster has migrated this storage before."""
        return self._stamp.exists() and self._stamp.read_text() == self._stamp_content

    @property
    def _workspace(self) -> Path:
        return self.home / "workspace.yaml"

    @property
    def _stamp(self) -> Path:
        return self.home / "storage-version"

    @property
    def _stamp_content(self) -> str:
        storage = hashlib.sha256(self.storage_url.encode()).hexdigest()
        return f"{version('dagster')} {storage}"

    def _workspace_content(self) -> object:
        # The webserver and the daemon share one code location, as containers would, where
        # the repository's workspace.yaml would give each a process of its own.
        server = {"host": self.code_host, "port": self.code_port, "location_name": _LOCATION}
        return {"load_from": [{"grpc_server": server}]}

    def _migrate_storage(self) -> None:
        result = subprocess.run(
            [sys.executable, "-m", "dagster", "instance", "migrate"],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise DagsterSetupError(f"`dagster instance migrate` failed:\n{result.stderr[-2000:]}")
        self._stamp.write_text(self._stamp_content)

    def _process(self, name: str, *arguments: str, probe: Probe) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            command=(sys.executable, "-m", *arguments),
            probe=probe,
            environment=self.environment,
            # Not the checkout: Dagster would read a `.env` there, maybe of another platform.
            working_dir=self.home,
            stop_seconds=_STOP_SECONDS,
            routine_lines=_ROUTINE_LINES,
        )

    def code_location(self) -> ProcessSpec:
        """Return the process that serves the definitions; the others want it there."""
        return self._process(
            "dagster-code",
            "sluice.servers.code_server",
            *("--python-file", str(PROJECT_ROOT / "platform" / "definitions.py")),
            *("--working-directory", str(PROJECT_ROOT)),
            *("--location-name", _LOCATION),
            *("--host", self.host, "--port", str(self.code_port)),
            probe=tcp_probe("127.0.0.1", self.code_port),
        )

    def webserver(self) -> ProcessSpec:
        """Return the process of the UI and the GraphQL API."""
        return self._process(
            "dagster-web",
            "dagster_webserver",
            *("--host", self.host, "--port", str(self.port)),
            *("--workspace", str(self._workspace)),
            probe=http_probe(f"http://127.0.0.1:{self.port}/server_info"),
        )

    def daemon(self) -> ProcessSpec:
        """Return the process that evaluates sensors and launches runs."""
        return self._process(
            "dagster-daemon",
            *("dagster._daemon", "run"),
            *("--workspace", str(self._workspace)),
            probe=_heartbeat_probe(self.storage_url),
        )


def _heartbeat_probe(database_url: str) -> Probe:
    """Ready when the daemon's sensor loop has reported within the last minute."""

    async def probe() -> None:
        try:
            async with await psycopg.AsyncConnection.connect(
                database_url, connect_timeout=3
            ) as connection:
                cursor = await connection.execute(
                    "SELECT 1 FROM daemon_heartbeats WHERE daemon_type = 'SENSOR'"
                    " AND timestamp > (now() AT TIME ZONE 'UTC') - interval '1 minute'"
                )
                if await cursor.fetchone():
                    return
        except psycopg.Error as error:
            raise NotReady(str(error).strip()) from error
        raise NotReady("the daemon has not reported within the last minute")

    return probe
