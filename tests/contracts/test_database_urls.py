"""URLs of one PostgreSQL server, and what they ask of a connection."""

import psycopg
import pytest

from contracts.settings import database_beside, with_liveness


def test_a_connection_notices_that_its_server_is_silent(database_url: str) -> None:
    with psycopg.connect(with_liveness(database_url)) as connection:
        parameters = connection.info.get_parameters()

    assert (parameters["tcp_user_timeout"], parameters["keepalives_idle"]) == ("25000", "10")


def test_what_the_url_says_stays() -> None:
    url = "postgresql://me@db/sluice?tcp_user_timeout=900&keepalives_idle=1"

    assert with_liveness(url) == f"{url}&keepalives_interval=5&keepalives_count=3"
    assert with_liveness(with_liveness(url)) == with_liveness(url)


@pytest.mark.parametrize(
    ("url", "beside"),
    [
        ("postgresql://me:p%2Fw@db:6000/sluice", "postgresql://me:p%2Fw@db:6000/dagster"),
        ("postgresql:///sluice?host=/run", "postgresql:///dagster?host=/run"),
        ("postgresql://db?sslmode=require", "postgresql://db/dagster?sslmode=require"),
    ],
)
def test_the_database_beside(url: str, beside: str) -> None:
    assert database_beside(url, "dagster") == beside
