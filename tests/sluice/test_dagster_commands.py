"""Dagster's processes one by one, as the containers run them: three that find each other."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from sluice.servers.postgres import EmbeddedPostgres
from sluice.servers.probes import http_probe, tcp_probe
from sluice.servers.spec import NotReady, Probe, ProcessSpec
from tests.support.ports import free_port
from tests.support.processes import running

LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { __typename } } } } }"""


@pytest.fixture
def environment(
    database_url: str, postgres_server: EmbeddedPostgres, tmp_path: Path
) -> dict[str, str]:
    """Settings as a container has them: the password in a file."""
    parts = urlsplit(database_url)
    (tmp_path / "password").write_text(f"{postgres_server.password}\n")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")},
        "SLUICE_DATA_DIR": str(tmp_path / "data"),
        "SLUICE_POSTGRES_URL": f"postgresql://sluice@{parts.hostname}:{parts.port}{parts.path}",
        "SLUICE_POSTGRES_PASSWORD_FILE": str(tmp_path / "password"),
        "SLUICE_DAGSTER_PORT": str(free_port()),
    }


def sluice(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sluice", "dagster", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def process(environment: dict[str, str], probe: Probe, *arguments: str) -> ProcessSpec:
    return ProcessSpec(
        name=f"dagster-{arguments[0]}",
        command=(sys.executable, "-m", "sluice", "dagster", *arguments),
        probe=probe,
        environment=environment,
    )


def test_the_processes_find_each_other_and_the_daemon_reports(
    environment: dict[str, str], tmp_path: Path
) -> None:
    code_port, port = str(free_port()), environment["SLUICE_DAGSTER_PORT"]
    url = f"http://127.0.0.1:{port}"

    prepared = sluice(environment, "prepare", "--code-port", code_port)
    assert prepared.returncode == 0, prepared.stderr
    again = sluice(environment, "prepare", "--code-port", code_port)
    assert again.returncode == 0, again.stderr
    unreported = sluice(environment, "check-daemon")
    assert unreported.returncode == 1
    assert "has not reported" in unreported.stderr

    async def daemon_reports() -> None:
        checked = sluice(environment, "check-daemon")
        if checked.returncode != 0:
            raise NotReady(checked.stderr)

    with ExitStack() as stack:
        for probe, arguments in (
            (tcp_probe("127.0.0.1", int(code_port)), ("code", "--code-port", code_port)),
            (http_probe(f"{url}/server_info"), ("web",)),
            (daemon_reports, ("daemon",)),
        ):
            server = process(environment, probe, *arguments)
            stack.enter_context(running(server, log=tmp_path / f"{arguments[0]}.log"))
        answer = requests.post(f"{url}/graphql", json={"query": LOCATIONS}, timeout=60).json()

    (location,) = answer["data"]["workspaceOrError"]["locationEntries"]
    assert location["name"] == "sluice"
    assert location["locationOrLoadError"] == {"__typename": "RepositoryLocation"}


def test_a_password_file_that_is_not_there_is_named(environment: dict[str, str]) -> None:
    environment["SLUICE_POSTGRES_PASSWORD_FILE"] = "/nowhere/password"

    refused = sluice(environment, "prepare")

    assert refused.returncode == 1
    assert "/nowhere/password" in refused.stderr
