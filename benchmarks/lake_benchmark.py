"""Ten million events of chat traffic from PostgreSQL to Iceberg, beside a bare floor.

Three parts, on the embedded catalog and local files:

* a month's days of all event tables, moved as the schedule moves them, in one process;
* one table on to hundreds of snapshots, in batches of one size: what a row costs by then;
* the floor of some of the same days: ADBC reads, PyArrow writes Parquet, and nothing else.

What was moved is then counted and summed by PostgreSQL, by PyIceberg and by DuckDB.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median

import psycopg

from benchmarks.environment import only_these_settings
from benchmarks.figures import Figure, Reference, require
from benchmarks.lake_agreement import require_agreement
from benchmarks.lake_batches import BatchOrder, MovedBatch, ProcessCost, move_days
from benchmarks.lake_database import FIRST_DAY, FULL, QUICK, running_lake_database
from benchmarks.lake_floor import BareCopy, copy_days
from benchmarks.lake_traffic import COPY_STATEMENTS
from resources.lake import LakeResource

_MEBIBYTE = 2**20
_GROWING = "tool_calls"
_FLOOR_DAYS = 3
_GROWTH_BATCHES = {FULL: (300, 40_000), QUICK: (6, 50)}
"""Size of the traffic → batches of the growing table, and rows of each."""
_NEW_VALUES = {
    "event_id": "uuidv7()",
    "occurred_at": "%(day)s::timestamptz + (occurred_at - date_trunc('day', occurred_at, 'UTC'))",
    "transaction_id": "pg_current_xact_id()::text::bigint",
}
"""Column of the growing table → what it has in a row that is made of another day's."""
_COMPARED = 50
"""Batches at the start and at the end of the growth, whose rates are compared."""


def run_lake_benchmark(
    folder: Path,
    *,
    is_quick: bool,
    say: Callable[[str], None],
    prepared: Path | None = None,
    day_count: int | None = None,
) -> list[Figure]:
    """Measure the lake's batches.

    Args:
        prepared: a folder with the database, as `benchmarks.lake_database` made it.
        day_count: days to move; default: all, which are ten million events.

    Raises:
        InvariantBroken: a batch failed, or what was moved is not what was there.
    """
    size = QUICK if is_quick else FULL
    with (
        only_these_settings(folder, {"SLUICE_DATA_DIR": str(folder)}),
        running_lake_database(prepared or folder, size, say) as database,
    ):
        url = database.url
        order = _order(url, folder, day_count or size.day_count)
        _forget_earlier_lake(order)
        database_seconds = database.processor_seconds()
        batches, cost = move_days(order)
        database_seconds = database.processor_seconds() - database_seconds
        say(_described("moved", batches))
        require_agreement(order, say)
        growth_count, growth_rows = _GROWTH_BATCHES[size]
        growth, _ = move_days(_grow(url, order, growth_count, growth_rows))
        say(_described("grown", growth))
        floor_folder = folder / "floor"
        floor_folder.mkdir()
        floor = copy_days(
            BatchOrder(
                url, str(floor_folder), order.tables, FIRST_DAY, min(_FLOOR_DAYS, order.day_count)
            )
        )
        say(f"floor: {_rate(floor):,.0f} rows/s")
    return _figures(
        size.events_of_day * order.day_count, batches, cost, database_seconds, growth, floor
    )


def _order(url: str, folder: Path, day_count: int) -> BatchOrder:
    return BatchOrder(
        database_url=url,
        warehouse=(folder / "warehouse").as_uri(),
        tables=tuple(COPY_STATEMENTS),
        first_day=FIRST_DAY,
        day_count=day_count,
    )


def _forget_earlier_lake(order: BatchOrder) -> None:
    """Take back what an earlier measurement left in a prepared database."""
    lake = LakeResource(database_url=order.database_url, warehouse=order.warehouse)
    with lake.open() as catalog:
        for namespace in catalog.list_namespaces():
            for table in catalog.list_tables(namespace):
                catalog.drop_table(table)
    with psycopg.connect(order.database_url) as connection:
        connection.execute("TRUNCATE lake_watermarks, lake_scans")
        connection.execute(f"DELETE FROM {_GROWING} WHERE occurred_at < %s", (FIRST_DAY,))


def _grow(url: str, order: BatchOrder, batch_count: int, row_count: int) -> BatchOrder:
    """Give the growing table days before the others, a batch each; return the order for them."""
    first_day = FIRST_DAY - timedelta(days=batch_count)
    with psycopg.connect(url) as connection:
        sample = connection.execute(
            f"CREATE TEMPORARY TABLE sample AS SELECT * FROM {_GROWING} LIMIT %s", (row_count,)
        )
        require(sample.rowcount == row_count, f"{_GROWING} has but {sample.rowcount:,} rows")
        names = connection.execute("SELECT * FROM sample LIMIT 0").description or ()
        columns = [_NEW_VALUES.get(each.name, each.name) for each in names]
        statement = f"INSERT INTO {_GROWING} SELECT {', '.join(columns)} FROM sample"
        for number in range(batch_count):
            day = first_day + timedelta(days=number)
            connection.execute(statement, {"day": f"{day} 00:00+00"})
            connection.commit()
    return BatchOrder(order.database_url, order.warehouse, (_GROWING,), first_day, batch_count)


def _figures(
    wanted: int,
    batches: Sequence[MovedBatch],
    cost: ProcessCost,
    database_seconds: float,
    growth: Sequence[MovedBatch],
    floor: Sequence[BareCopy],
) -> list[Figure]:
    rows = sum(each.row_count for each in batches)
    compared = min(_COMPARED, len(growth) // 2)
    first, last = growth[:compared], growth[-compared:]
    figures = [
        Figure(
            f"lake: {rows:,} events in {len(batches)} batches",
            _rate(batches),
            "rows/s",
            Reference("ADBC and Parquet alone", _rate(floor)),
            "PostgreSQL and the batches share the cores",
        ),
        Figure(
            "lake: processor time of the batches and PostgreSQL for a million rows",
            (cost.processor_seconds + database_seconds) / rows * 1e6,
            "s",
            Reference("of which PostgreSQL", database_seconds / rows * 1e6),
        ),
        Figure("lake: events moved", rows, "rows", Reference("events wanted, at least", wanted)),
        Figure(
            "lake: most resident memory of the process",
            cost.resident / _MEBIBYTE,
            "MiB",
            Reference("with everything imported and nothing moved", cost.before / _MEBIBYTE),
        ),
        Figure(
            "lake: most memory of Arrow's pool",
            cost.arrow / _MEBIBYTE,
            "MiB",
            Reference("file size, `lake.file_mebibytes`", 64),
        ),
        Figure(
            f"lake: batches of {growth[0].row_count:,} rows, the last {compared},"
            f" to {last[-1].snapshot_count} snapshots",
            _median_rate(last),
            "rows/s",
            Reference(
                f"the first {compared}, from {first[0].snapshot_count} snapshots on",
                _median_rate(first),
            ),
        ),
    ]
    figures += [
        Figure(
            f"lake: {table}",
            _rate([each for each in batches if each.table == table]),
            "rows/s",
            Reference(
                "ADBC and Parquet alone", _rate([each for each in floor if each.table == table])
            ),
        )
        for table in COPY_STATEMENTS
    ]
    figures += [
        Figure(
            f"lake: growth, {batch.snapshot_count} snapshots",
            batch.row_count / batch.seconds,
            "rows/s",
            Reference("median of all", _median_rate(growth)),
        )
        for batch in growth
    ]
    return figures


def _rate(parts: Sequence[MovedBatch] | Sequence[BareCopy]) -> float:
    return sum(each.row_count for each in parts) / sum(each.seconds for each in parts)


def _median_rate(batches: Sequence[MovedBatch]) -> float:
    return median(each.row_count / each.seconds for each in batches)


def _described(what: str, batches: Sequence[MovedBatch]) -> str:
    rows = sum(each.row_count for each in batches)
    stored = sum(each.file_bytes for each in batches)
    return (
        f"{what} {rows:,} rows in {len(batches)} batches: {_rate(batches):,.0f} rows/s,"
        f" {stored / _MEBIBYTE:,.0f} MiB in {sum(each.file_count for each in batches)} files"
    )
