"""The migrations and `contracts.tables` describe one schema."""

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from contracts.tables import metadata


def test_a_migrated_database_equals_the_tables(sqlalchemy_url: str) -> None:
    engine = sqlalchemy.create_engine(sqlalchemy_url)
    with engine.connect() as connection:
        differences = compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True}), metadata
        )
    engine.dispose()

    assert differences == []
