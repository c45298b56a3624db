"""The embedded PostgreSQL where other accounts may not look."""

import os
from pathlib import Path

import psycopg
import pytest

from sluice.servers.postgres import EmbeddedPostgres
from tests.support.ports import free_port
from tests.support.processes import running


def test_it_runs_from_a_folder_that_is_closed_to_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "data", free_port(), "password")
    server.initialise()
    mode_before = closed.stat().st_mode

    with running(server.process(), log=tmp_path / "log") as process:
        with psycopg.connect(server.url("postgres")) as connection:
            connection.execute("CREATE EXTENSION vector")
            row = connection.execute("SELECT '[1,2]'::vector <-> '[1,4]'::vector").fetchone()
        owner = Path(f"/proc/{process.pid}").stat().st_uid

    assert row == (2.0,)
    assert owner != 0
    assert closed.stat().st_mode == mode_before


def test_it_wants_its_password(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", free_port(), "password")
    server.initialise()
    other = EmbeddedPostgres(server.data_dir, server.port, "another")

    with (
        running(server.process(), log=tmp_path / "log"),
        pytest.raises(psycopg.OperationalError, match="password authentication failed"),
    ):
        psycopg.connect(other.url("postgres"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")
def test_the_server_keeps_no_privilege_but_passing_folders(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "data", free_port(), "password")
    server.initialise()

    with running(server.process(), log=tmp_path / "log") as process:
        status = Path(f"/proc/{process.pid}/status").read_text()

    capabilities = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    assert int(capabilities["CapEff"], 16) == 1 << 2  # CAP_DAC_READ_SEARCH
    assert int(capabilities["CapBnd"], 16) == 1 << 2


def test_another_address_lets_other_hosts_in_once(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", free_port(), "password", host="0.0.0.0")
    rules = server.data_dir / "pg_hba.conf"
    for _start in range(2):
        server.initialise()
    others = [line for line in rules.read_text().splitlines() if line.startswith("host all all")]

    assert others == ["host all all all scram-sha-256"]
    assert "--listen_addresses=0.0.0.0" in server.process().command
    near = EmbeddedPostgres(server.data_dir, server.port, "password", host="192.0.2.1")
    assert "--listen_addresses=127.0.0.1,192.0.2.1" in near.process().command
