"""Moves days to the lake in a process of its own: `python -m benchmarks.lake_batches`.

It reads its order and prints its answers, a line for each batch and one for the process, as JSON.
"""

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import msgspec
import pyarrow as pa

from benchmarks.child_output import run_module
from contracts.lake import LAKE_TABLES, LakeTable

_KIBIBYTE = 1024
TABLES: dict[str, LakeTable] = {table.name: table for table in LAKE_TABLES}


class BatchOrder(msgspec.Struct, frozen=True):
    """Which days of which tables are to be moved, one after the other."""

    database_url: str
    warehouse: str
    tables: Sequence[str]
    first_day: date
    day_count: int

    @property
    def days(self) -> Iterator[date]:
        return (self.first_day + timedelta(days=number) for number in range(self.day_count))


class MovedBatch(msgspec.Struct, frozen=True, tag=True):
    """One batch, as its table was after it."""

    table: str
    row_count: int
    seconds: float
    snapshot_count: int
    file_count: int
    file_bytes: int


class ProcessCost(msgspec.Struct, frozen=True, tag=True):
    """The most memory that the process had at any time, in bytes, and its processor time."""

    before: int
    """Resident, with everything imported and nothing moved."""
    resident: int
    arrow: int
    """Of Arrow's own pool; what ADBC allocates is not in it."""
    processor_seconds: float
    """Of the batches, all threads."""


def move_days(order: BatchOrder) -> tuple[list[MovedBatch], ProcessCost]:
    """Have a process move what was ordered; return its batches, and what they cost."""
    lines = run_module("benchmarks.lake_batches", msgspec.json.encode(order))
    answers: list[MovedBatch | ProcessCost] = [
        msgspec.json.decode(line, type=MovedBatch | ProcessCost) for line in lines
    ]
    batches = [each for each in answers if isinstance(each, MovedBatch)]
    (cost,) = [each for each in answers if isinstance(each, ProcessCost)]
    return batches, cost


def _resident_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIBIBYTE


def _move(order: BatchOrder) -> Iterator[MovedBatch | ProcessCost]:
    from assets.lake.batch import BatchLimits, move_day
    from resources.lake import LakeResource
    from resources.postgres import PostgresResource

    lake = LakeResource(database_url=order.database_url, warehouse=order.warehouse)
    postgres = PostgresResource(url=order.database_url)
    before = _resident_bytes()
    began = time.process_time()
    for day in order.days:
        for name in order.tables:
            started = time.monotonic()
            moved = move_day(TABLES[name], day, postgres=postgres, lake=lake, limits=BatchLimits())
            yield MovedBatch(
                table=name,
                row_count=moved.row_count,
                seconds=time.monotonic() - started,
                snapshot_count=moved.snapshot_count,
                file_count=moved.file_count,
                file_bytes=moved.file_bytes,
            )
    arrow = pa.default_memory_pool().max_memory() or 0
    yield ProcessCost(
        before=before,
        resident=_resident_bytes(),
        arrow=arrow,
        processor_seconds=time.process_time() - began,
    )


if __name__ == "__main__":
    for answer in _move(msgspec.json.decode(sys.stdin.buffer.read(), type=BatchOrder)):
        print(msgspec.json.encode(answer).decode(), flush=True)
