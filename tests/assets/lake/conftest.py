"""A lake of its own for each test: catalog in its database, files in its folder."""

from pathlib import Path

import pytest

from resources.lake import LakeResource
from resources.postgres import PostgresResource


@pytest.fixture
def postgres(database_url: str) -> PostgresResource:
    return PostgresResource(url=database_url)


@pytest.fixture
def lake(database_url: str, tmp_path: Path) -> LakeResource:
    return LakeResource(database_url=database_url, warehouse=f"file://{tmp_path / 'lake'}")
