"""The SQL catalog whose metadata shares its history."""

import copy
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from resources.embedded_catalog import EmbeddedCatalog

ROWS = pa.table({"level": pa.array([1, 2], pa.int64())})


@pytest.fixture
def catalog(tmp_path: Path) -> EmbeddedCatalog:
    catalog = EmbeddedCatalog(
        "test", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=tmp_path.as_uri()
    )
    catalog.create_namespace("weir")
    catalog.create_table("weir.levels", schema=ROWS.schema)
    return catalog


def test_a_copy_of_the_metadata_has_the_same_snapshots(catalog: EmbeddedCatalog) -> None:
    for _ in range(3):
        catalog.load_table("weir.levels").append(ROWS)
    metadata = catalog.load_table("weir.levels").metadata

    copied = copy.deepcopy(metadata)

    assert copied == metadata
    assert len(metadata.snapshots) == 3
    assert all(
        mine is theirs for mine, theirs in zip(copied.snapshots, metadata.snapshots, strict=True)
    )


def test_what_was_loaded_stays_as_it_was_when_others_commit(catalog: EmbeddedCatalog) -> None:
    table = catalog.load_table("weir.levels")
    table.append(ROWS)
    earlier = catalog.load_table("weir.levels")
    written = earlier.metadata.model_dump_json()

    table.append(ROWS)
    table.maintenance.expire_snapshots().by_id(table.metadata.snapshots[0].snapshot_id).commit()

    assert earlier.metadata.model_dump_json() == written
    assert _snapshot_count(earlier) == 1
    assert _snapshot_count(catalog.load_table("weir.levels")) == 1
    assert catalog.load_table("weir.levels").scan().to_arrow().num_rows == 4


def test_metadata_is_read_again_where_somebody_has_committed(
    catalog: EmbeddedCatalog, tmp_path: Path
) -> None:
    another = EmbeddedCatalog("test", **catalog.properties)
    location = catalog.load_table("weir.levels").metadata_location
    Path(location.removeprefix("file://")).rename(tmp_path / "away.json")

    assert _snapshot_count(catalog.load_table("weir.levels")) == 0
    with pytest.raises(FileNotFoundError):
        another.load_table("weir.levels")

    (tmp_path / "away.json").rename(location.removeprefix("file://"))
    another.load_table("weir.levels").append(ROWS)
    assert _snapshot_count(catalog.load_table("weir.levels")) == 1


def test_tables_are_told_apart(catalog: EmbeddedCatalog) -> None:
    catalog.create_table("weir.flows", schema=ROWS.schema)
    catalog.load_table("weir.flows").append(ROWS)

    assert _snapshot_count(catalog.load_table("weir.levels")) == 0
    catalog.rename_table("weir.flows", "weir.currents")
    assert catalog.load_table("weir.currents").name() == ("weir", "currents")
    assert _snapshot_count(catalog.load_table("weir.currents")) == 1


def _snapshot_count(table: Table) -> int:
    return len(table.metadata.snapshots)
