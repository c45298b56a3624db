"""Fixtures: the real servers, on free ports, each test with a database and a broker of its own."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from contracts.settings import PipelineSettings, with_psycopg
from sluice.databases import ensure_database
from sluice.migrations import migrate
from sluice.servers.nats import EmbeddedNats
from sluice.servers.postgres import EmbeddedPostgres
from tests.support.broker_servers import running_broker
from tests.support.ports import free_port
from tests.support.processes import running

_TEMPLATE = "migrated_template"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server with a migrated template database."""
    folder = tmp_path_factory.mktemp("postgres")
    server = EmbeddedPostgres(folder / "data", free_port(), "a password/with@marks")
    server.initialise()
    with running(server.process(), log=folder / "log"):
        ensure_database(server.url("postgres"), _TEMPLATE)
        migrate(with_psycopg(server.url(_TEMPLATE)))
        yield server


@pytest.fixture(scope="session")
def new_database(postgres_server: EmbeddedPostgres) -> Callable[[], str]:
    """Make a fresh, migrated database and return its libpq URL."""
    numbers = count(1)

    def make() -> str:
        name = f"test_{next(numbers)}"
        with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(_TEMPLATE)
                )
            )
        return postgres_server.url(name)

    return make


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    """The libpq URL of a fresh, migrated database."""
    return new_database()


@pytest.fixture
def sqlalchemy_url(database_url: str) -> str:
    """`database_url` with the driver that SQLAlchemy is to use."""
    return with_psycopg(database_url)


@pytest.fixture
def pipeline_settings() -> PipelineSettings:
    """The batch contract's figures, short enough for tests."""
    return PipelineSettings(ack_wait_seconds=5, pull_seconds=2)


@pytest.fixture
def nats_server(tmp_path: Path, pipeline_settings: PipelineSettings) -> Iterator[EmbeddedNats]:
    """A nats-server with the platform's users, streams and consumers, and no messages."""
    with running_broker(tmp_path / "nats", pipeline_settings) as server:
        yield server


@pytest.fixture
def nats_url(nats_server: EmbeddedNats) -> str:
    """The URL of `nats_server` for its administrator."""
    return nats_server.url("admin")
