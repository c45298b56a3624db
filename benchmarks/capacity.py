"""What a number of calls a day needs, from the recorded figures: `python -m benchmarks.capacity`.

Writes the tables of docs/capacity.md, between its two marks; a test holds the page to the figures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "capacity.md"

CALLS_A_DAY = (1_000, 1_000_000, 100_000_000)
PEAK = 4.0
"""Calls of the busiest minute, over the day's mean."""
BUSY = 0.6
"""Share of a core that is planned for; the rest is for what nobody planned."""
EVENTS_A_CALL = 4
"""Chat, lineage, and of retrieval two to three where it finds something."""
DELIVERIES_A_CALL = 5
"""Two jobs take the chat event."""
BROKER_DAYS = 3
"""PIPELINE keeps 72 hours."""

_SECONDS_A_DAY = 86_400
_BEGIN = "<!-- written by `python -m benchmarks.capacity` -->\n"
_END = "<!-- as far as here -->\n"


@dataclass(frozen=True)
class Source:
    """Where a figure is found: files in results, the first that has it counts, and its name."""

    files: tuple[str, ...]
    name: str


_DRAIN = ("drain.json", "latest.json")
GATEWAY = Source(("gateway.json",), "Sluice: chat completions, 32 in flight")
SEARCH = Source(("retrieval.json",), "retrieval: a query from end to end, p50")
INGEST = Source(("retrieval.json",), "retrieval: ingest, chunks")
BATCH = Source(_DRAIN, "drain: one run's batch of 50,000 (read, COPY, commit, acknowledge)")
RUN = Source(_DRAIN, "drain: one run of 50,000, from its process's start to its end")
ROWS = Source(_DRAIN, "drain: rows after the run")
SOURCES = (GATEWAY, SEARCH, INGEST, BATCH, RUN)


class NoFigure(Exception):
    """A result file lacks a figure that the plan rests on."""


def read(source: Source) -> tuple[str, dict[str, Any]]:
    """Return file and row of a figure, as `benchmarks.figures.write_figures` wrote it.

    Raises:
        NoFigure: no file has one of this name.
    """
    for file in source.files:
        if (RESULTS / file).exists():
            rows: list[dict[str, Any]] = msgspec.json.decode((RESULTS / file).read_bytes())
            for row in rows:
                if row["name"] == source.name:
                    return file, row
    raise NoFigure(f"none of {', '.join(source.files)} has a figure {source.name!r}")


def value_of(source: Source) -> float:
    """Return a figure's value in its unit. Raises NoFigure."""
    return float(read(source)[1]["value"])


def event_bytes() -> int:
    """Return the size of the events that the drain was measured with."""
    words: list[str] = read(ROWS)[1]["against"]["name"].replace(",", "").split()
    return int(words[words.index("bytes") - 1])


def tables() -> str:
    """Return the tables of the page. Raises NoFigure."""
    return "\n".join([*_measured(), "", *_needed()]) + "\n"


def page() -> str:
    """Return docs/capacity.md with its tables as they should be."""
    text = PAGE.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{tables()}\n{_END}{after}"


def _measured() -> Iterator[str]:
    yield "| measured | figure | machine | where |"
    yield "|---|---:|---|---|"
    for source in SOURCES:
        file, row = read(source)
        machine, setup = row["machine"], row.get("setup")
        where = f"{machine['cpu_model']}, {machine['core_count']} cores"
        if setup:
            where += f"; {setup}"
        yield (f"| {source.name} | {_figure(row['value'])} {row['unit']} | {where} | `{file}` |")


def _needed() -> Iterator[str]:
    yield _line("calls a day", [f"{calls:,}" for calls in CALLS_A_DAY])
    yield _line("---", ["---:"] * len(CALLS_A_DAY))
    peaks = [calls / _SECONDS_A_DAY * PEAK for calls in CALLS_A_DAY]
    searches = 1000 / value_of(SEARCH)
    runs = value_of(RUN)
    size = event_bytes() * EVENTS_A_CALL
    yield _line("calls a second at the peak", [_figure(peak) for peak in peaks])
    yield _line("cores: gateway", [_cores(peak, value_of(GATEWAY)) for peak in peaks])
    yield _line("cores: searches", [_cores(peak, searches) for peak in peaks])
    yield _line(
        "cores: runs that drain", [_cores(peak * DELIVERIES_A_CALL, runs) for peak in peaks]
    )
    yield _line("events a second to the broker", [_figure(peak * EVENTS_A_CALL) for peak in peaks])
    yield _line(
        "broker's disk, 72 h", [_bytes(calls * size * BROKER_DAYS) for calls in CALLS_A_DAY]
    )
    yield _line("events a day in PostgreSQL", [_bytes(calls * size) for calls in CALLS_A_DAY])


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _cores(demand: float, capacity_of_a_core: float) -> str:
    cores = demand / (capacity_of_a_core * BUSY)
    return "< 0.1" if cores < 0.1 else _figure(cores)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{_figure(count)} {unit}"
        count /= 1000
    return f"{_figure(count)} TB"


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
