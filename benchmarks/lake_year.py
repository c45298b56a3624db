"""A year of batches in minutes, once with maintenance and once without: what becomes of the table.

Two small batches a day are moved by the real code, in the embedded catalog. With maintenance it is
maintained once a week, as the real one is once a day, and keeps the snapshots of a week: a week is
over when seven days have been moved, however long that took.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import msgspec
import psycopg

from assets.lake.batch import move_day
from assets.lake.iceberg_tables import load_table
from assets.lake.maintenance import MaintenanceLimits, maintain, measure
from benchmarks.environment import only_these_settings
from benchmarks.figures import Figure, Reference, require
from benchmarks.lake_batches import TABLES
from contracts.settings import with_psycopg
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from sluice.databases import ensure_database
from sluice.migrations import migrate
from sluice.servers.postgres import EmbeddedPostgres
from tests.support.lake_rows import insert_rows
from tests.support.ports import free_port
from tests.support.processes import running

_TABLE = TABLES["tool_calls"]
_FIRST_DAY = date(2025, 12, 1)
_ROWS = 40
_BATCHES_A_DAY = 2
_WEEK = 7
_LOOKS = 5
"""Planning is timed as often, and the median is taken."""
WITH, WITHOUT = "with maintenance", "without"


class WeekOfTable(msgspec.Struct, frozen=True):
    """The table at a week's end, before its maintenance if it has one."""

    day: int
    data_files: int
    snapshots: int
    manifests: int
    metadata_bytes: int
    """Of all files in the table's folder for metadata."""
    planning_seconds: float
    """To find the files of all rows."""
    batch_seconds: float
    """Median of the week's batches."""


def run_lake_year_benchmark(
    folder: Path, *, is_quick: bool, say: Callable[[str], None]
) -> list[Figure]:
    """Move a year's days, twice.

    Raises:
        InvariantBroken: the maintenance lost or doubled a row.
    """
    day_count = 2 * _WEEK if is_quick else 52 * _WEEK
    server = EmbeddedPostgres(folder / "postgres", free_port(), "of-the-benchmark")
    server.initialise()
    years: dict[str, list[WeekOfTable]] = {}
    with (
        only_these_settings(folder, {"SLUICE_DATA_DIR": str(folder)}),
        running(server.process(), log=folder / "postgres.log"),
    ):
        for name, database in ((WITH, "maintained"), (WITHOUT, "left_alone")):
            ensure_database(server.url("postgres"), database)
            url = server.url(database)
            migrate(with_psycopg(url))
            lake = LakeResource(database_url=url, warehouse=(folder / database).as_uri())
            started = time.monotonic()
            years[name] = list(_live(lake, PostgresResource(url=url), day_count, name == WITH))
            say(f"{name}: {years[name][-1]}, after {time.monotonic() - started:.0f} s")
            _require_every_row(lake, url)
    return _figures(years)


def _live(
    lake: LakeResource, postgres: PostgresResource, day_count: int, is_maintained: bool
) -> Iterator[WeekOfTable]:
    week_began = datetime.now(UTC)
    seconds: list[float] = []
    for number in range(day_count):
        day = _FIRST_DAY + timedelta(days=number)
        for batch in range(_BATCHES_A_DAY):
            with psycopg.connect(postgres.libpq_url) as connection:
                insert_rows(connection, _TABLE.name, _ROWS, day=day, first=batch * _ROWS)
            started = time.monotonic()
            move_day(_TABLE, day, postgres=postgres, lake=lake)
            seconds.append(time.monotonic() - started)
        if number % _WEEK == _WEEK - 1:
            yield _look(lake, number + 1, median(seconds))
            seconds = []
            if is_maintained:
                a_week = datetime.now(UTC) - week_began
                limits = MaintenanceLimits(
                    least_files=_BATCHES_A_DAY, snapshot_age=a_week, leftover_age=a_week
                )
                maintain(_TABLE, postgres=postgres, lake=lake, limits=limits)
            week_began = datetime.now(UTC)


def _look(lake: LakeResource, day: int, batch_seconds: float) -> WeekOfTable:
    with lake.open() as catalog:
        table = load_table(catalog, _TABLE)
        figures = [measure(table) for _ in range(_LOOKS)]
    folder = Path(table.location().removeprefix("file://")) / "metadata"
    return WeekOfTable(
        day=day,
        data_files=figures[0].data_files,
        snapshots=figures[0].snapshots,
        manifests=figures[0].manifests,
        metadata_bytes=sum(file.stat().st_size for file in folder.iterdir()),
        planning_seconds=median(each.planning_seconds for each in figures),
        batch_seconds=batch_seconds,
    )


def _require_every_row(lake: LakeResource, url: str) -> None:
    with lake.open() as catalog:
        ids = load_table(catalog, _TABLE).scan(selected_fields=("event_id",)).to_arrow()
    moved = {str(each) for each in ids["event_id"].to_pylist()}
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT event_id::text FROM {_TABLE.name}").fetchall()
    require(ids.num_rows == len(moved), "rows are doubled")
    require(moved == {row[0] for row in found}, "rows are missing")


def _figures(years: dict[str, list[WeekOfTable]]) -> list[Figure]:
    described: Sequence[tuple[str, str, Callable[[WeekOfTable], float]]] = (
        ("data files", "files", lambda week: week.data_files),
        ("snapshots", "snapshots", lambda week: week.snapshots),
        ("manifests of the newest snapshot", "manifests", lambda week: week.manifests),
        ("metadata", "MiB", lambda week: week.metadata_bytes / 2**20),
        ("planning", "ms", lambda week: week.planning_seconds * 1000),
        ("a batch", "ms", lambda week: week.batch_seconds * 1000),
    )
    return [
        Figure(
            f"lake year: {what}, day {kept.day}",
            value(kept),
            unit,
            Reference(WITHOUT, value(alone)),
            WITH,
        )
        for what, unit, value in described
        for kept, alone in zip(years[WITH], years[WITHOUT], strict=True)
    ]
