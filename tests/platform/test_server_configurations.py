"""The servers' configurations of the devstack, in the real servers where these are at hand."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats
import psycopg
import pytest

from contracts.settings import PipelineSettings
from sluice.devstack.broker_configuration import server_configuration
from sluice.devstack.secret_files import NATS_PASSWORDS, write_secret_files
from sluice.servers.nats import GATEWAY_INBOX
from sluice.servers.postgres import EmbeddedPostgres
from sluice.servers.probes import http_probe
from sluice.servers.spec import ProcessSpec
from sluice.streams import apply_streams
from tests.support.compose_files import DEVSTACK, read_services
from tests.support.ports import free_port
from tests.support.processes import running

NATS_CONF = DEVSTACK / "nats" / "nats.conf"


def test_the_brokers_configuration_is_what_the_contracts_say() -> None:
    assert NATS_CONF.read_text() == server_configuration(), (
        "run `sluice devstack nats-conf >platform/devstack/nats/nats.conf`"
    )


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A nats-server with the devstack's file, on a free port: the folder of its secrets, port."""
    port, monitor = free_port(), free_port()
    write_secret_files(tmp_path / "secrets")
    # As compose mounts it: beside the configuration.
    (tmp_path / "passwords.conf").write_text((tmp_path / "secrets" / NATS_PASSWORDS).read_text())
    content = NATS_CONF.read_text()
    for there, here in (
        ('"port": 4222', f'"host": "127.0.0.1", "port": {port}'),
        ('"0.0.0.0:8222"', f'"127.0.0.1:{monitor}"'),
        ('"/data"', f'"{tmp_path / "data"}"'),
    ):
        assert content.count(there) == 1
        content = content.replace(there, here)
    file = tmp_path / "nats.conf"
    file.write_text(content)
    server = ProcessSpec(
        name="nats",
        command=(str(Path(sys.executable).with_name("nats-server")), "--config", str(file)),
        probe=http_probe(f"http://127.0.0.1:{monitor}/healthz?js-enabled-only=true"),
    )
    with running(server, log=tmp_path / "log"):
        yield tmp_path / "secrets", port


def test_the_broker_takes_the_secrets_and_lets_the_gateway_publish_alone(
    broker: tuple[Path, int],
) -> None:
    secrets, port = broker

    def url(user: str) -> str:
        password = (secrets / f"nats_{user}_password").read_text()
        return f"nats://{user}:{password}@127.0.0.1:{port}"

    async def use() -> str:
        await apply_streams(url("admin"), PipelineSettings())
        refused: asyncio.Queue[str] = asyncio.Queue()

        async def note(error: Exception) -> None:
            refused.put_nowait(str(error))

        gateway = await nats.connect(
            url("gateway"), inbox_prefix=GATEWAY_INBOX, error_cb=note, allow_reconnect=False
        )
        try:
            await gateway.jetstream().publish("pipeline.knowledge.tool_call", b"{}")
            await gateway.subscribe("pipeline.>")
            return await asyncio.wait_for(refused.get(), 10)
        finally:
            await gateway.close()

    assert "permissions violation for subscription" in asyncio.run(use()).lower()


def test_postgresql_takes_every_option_of_the_container(
    postgres_server: EmbeddedPostgres,
) -> None:
    options = dict(
        option.removeprefix("-c").split("=")
        for option in read_services()["postgres"]["command"][1:]
    )
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        for name, value in options.items():
            # Checked as at a start, and taken back before one.
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute(f"ALTER SYSTEM RESET {name}")
    assert len(options) == 6


def test_postgresql_has_the_shared_memory_that_its_options_ask_for() -> None:
    postgres = read_services()["postgres"]

    assert postgres["shm_size"] == "4gb"
    assert "-cjit=on" in postgres["command"]
    assert int(re.sub(r"\D", "", postgres["mem_limit"])) >= 4 + 1


def test_the_databases_of_the_other_servers_are_made(postgres_server: EmbeddedPostgres) -> None:
    statements = (DEVSTACK / "postgres" / "databases.sql").read_text()
    made = re.findall(r"^CREATE DATABASE (\w+);$", statements, re.MULTILINE)

    nessie = read_services()["nessie"]["environment"]
    assert made == ["dagster", "nessie"]
    assert nessie["QUARKUS_DATASOURCE_POSTGRESQL_JDBC_URL"].rpartition("/")[2] in made
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        for name in made:
            connection.execute(f"CREATE DATABASE devstack_{name}")
            connection.execute(f"DROP DATABASE devstack_{name}")


def test_the_command_prints_the_brokers_configuration() -> None:
    printed = subprocess.check_output(
        [sys.executable, "-m", "sluice", "devstack", "nats-conf"], text=True, timeout=60
    )

    assert printed == NATS_CONF.read_text()
