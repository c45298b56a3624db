"""Whether PostgreSQL, PyIceberg and DuckDB count and sum the same of every lake table."""

import time
from collections.abc import Callable
from datetime import timedelta

import duckdb
import psycopg
import pyarrow.compute as pc

from assets.lake.iceberg_tables import load_table
from benchmarks.figures import require
from benchmarks.lake_batches import TABLES, BatchOrder
from benchmarks.lake_traffic import COPY_STATEMENTS
from resources.lake import LakeResource

_SUMMED = {
    "chat_history": "total_tokens",
    "chat_pairs": "total_tokens",
    "embedding_events": "prompt_tokens",
    "retrieve_events": "hit_count",
    "compose_events": "token_count",
    "flow_lineage": "stream_sequence",
    "tool_calls": "position",
}


def require_agreement(order: BatchOrder, say: Callable[[str], None]) -> None:
    """Raise InvariantBroken unless all three have the same of the days that were moved."""
    started = time.monotonic()
    lake = LakeResource(database_url=order.database_url, warehouse=order.warehouse)
    end = order.first_day + timedelta(days=order.day_count)
    with lake.open() as catalog, psycopg.connect(order.database_url) as connection:
        for table in COPY_STATEMENTS:
            column = _SUMMED[table]
            iceberg = load_table(catalog, TABLES[table])
            files = [
                task.file.file_path.removeprefix("file://") for task in iceberg.scan().plan_files()
            ]
            statement = f"SELECT count(*), sum({column})::bigint FROM"
            by_duckdb = duckdb.sql(f"{statement} read_parquet({files})").fetchone()
            by_postgres = connection.execute(
                f"{statement} {table} WHERE occurred_at < %s", (f"{end} 00:00+00",)
            ).fetchone()
            counted = summed = 0
            for batch in iceberg.scan(selected_fields=(column,)).to_arrow_batch_reader():
                counted += batch.num_rows
                summed += pc.sum(batch[column]).as_py() or 0
            require(
                by_postgres == by_duckdb == (counted, summed),
                f"{table}: PostgreSQL {by_postgres}, DuckDB {by_duckdb},"
                f" PyIceberg {(counted, summed)}",
            )
    say(f"three engines agree on every table ({time.monotonic() - started:.0f} s)")
