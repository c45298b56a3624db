"""The PostgreSQL of the lake's benchmarks, filled with chat traffic.

`python -m benchmarks.lake_database FOLDER` makes it before the measurement, to be used by
`python -m benchmarks lake --lake-folder FOLDER`.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psutil
import psycopg

from benchmarks.figures import InvariantBroken
from benchmarks.lake_traffic import COPY_STATEMENTS, ChatTraffic, DayOfTraffic
from contracts.settings import with_psycopg
from sluice.databases import ensure_database
from sluice.migrations import migrate
from sluice.servers.postgres import EmbeddedPostgres
from tests.support.ports import free_port
from tests.support.processes import running

FIRST_DAY = date(2026, 3, 1)
_SEED = 6
_DATABASE = "sluice"
_PASSWORD = "of-the-benchmark"
_NOTE = "CREATE TABLE benchmark_size (day_count integer, events_of_day integer)"


@dataclass(frozen=True)
class TrafficSize:
    """How much traffic there is: days from `FIRST_DAY` on."""

    day_count: int
    events_of_day: int


@dataclass(frozen=True)
class LakeDatabase:
    """A running server with the traffic in it."""

    url: str
    process_id: int

    def processor_seconds(self) -> float:
        """Return what the server has used so far, connections that have ended included."""
        server = psutil.Process(self.process_id)
        ended = server.cpu_times()
        seconds = float(ended.children_user + ended.children_system)
        for each in (server, *server.children()):
            with suppress(psutil.NoSuchProcess):
                seconds += sum(each.cpu_times()[:2])
        return seconds


FULL = TrafficSize(day_count=30, events_of_day=333_334)
QUICK = TrafficSize(day_count=2, events_of_day=400)


@contextmanager
def running_lake_database(
    folder: Path, size: TrafficSize, say: Callable[[str], None]
) -> Iterator[LakeDatabase]:
    """Run PostgreSQL on `folder`, with the traffic in it.

    Raises:
        InvariantBroken: the folder has traffic of another size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    server = EmbeddedPostgres(folder / "postgres", free_port(), _PASSWORD)
    server.initialise()
    with running(server.process(), log=folder / "postgres.log") as process:
        ensure_database(server.url("postgres"), _DATABASE)
        url = server.url(_DATABASE)
        migrate(with_psycopg(url))
        _fill(url, size, say)
        yield LakeDatabase(url, process.pid)


def _fill(url: str, size: TrafficSize, say: Callable[[str], None]) -> None:
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('benchmark_size')").fetchone() != (None,):
            found = connection.execute("SELECT * FROM benchmark_size").fetchone()
            if found != (size.day_count, size.events_of_day):
                raise InvariantBroken(f"the database is of another size: {found}")
            return
    traffic = ChatTraffic(_SEED).day(FIRST_DAY, size.events_of_day)
    day_of_traffic = DayOfTraffic(FIRST_DAY, traffic)
    with psycopg.connect(url) as connection:
        for number in range(size.day_count):
            day = FIRST_DAY + timedelta(days=number)
            for table, statement in COPY_STATEMENTS.items():
                with connection.cursor().copy(statement) as copy:
                    for line in day_of_traffic.lines(table, day):
                        copy.write(line)
            connection.commit()
            if number % 5 == 4:
                say(f"{number + 1} days of {size.events_of_day:,} events are in PostgreSQL")
        connection.execute(_NOTE)
        connection.execute(
            "INSERT INTO benchmark_size VALUES (%s, %s)", (size.day_count, size.events_of_day)
        )
        connection.commit()
        connection.autocommit = True
        # As autovacuum would have done by the time a batch comes.
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


if __name__ == "__main__":
    with running_lake_database(Path(sys.argv[1]), FULL, print):
        pass
