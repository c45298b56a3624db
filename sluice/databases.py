"""Creates the platform's databases on a PostgreSQL server."""

import psycopg
from psycopg import sql


def ensure_database(server_url: str, name: str) -> bool:
    """Create the database `name` over `server_url`; return False if it was there.

    Raises:
        psycopg.Error: the server cannot be reached, or its user may not create databases.
    """
    with psycopg.connect(server_url, autocommit=True, connect_timeout=10) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if found.fetchone():
            return False
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return True
