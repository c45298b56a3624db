"""Runs the benchmarks, prints their figures and writes them as JSON."""

import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import click
from rich.console import Console

from benchmarks.backlog_benchmark import BacklogOptions, run_backlog_benchmark
from benchmarks.drain_benchmark import run_drain_benchmark
from benchmarks.figures import Figure, InvariantBroken, print_figures, write_figures
from benchmarks.gateway_benchmark import PEERS, GatewayOptions, run_gateway_benchmark
from benchmarks.gateway_report import write_report
from benchmarks.growth_benchmark import run_growth_benchmark
from benchmarks.lake_benchmark import run_lake_benchmark
from benchmarks.lake_plots import write_growth_plot, write_year_plot
from benchmarks.lake_year import run_lake_year_benchmark
from benchmarks.load_tools import ToolsMissing
from benchmarks.machine import ForeignLoad, describe_machine
from benchmarks.retrieval_benchmark import run_retrieval_benchmark
from benchmarks.run_start_benchmark import run_run_start_benchmark
from benchmarks.spool_benchmark import run_spool_benchmark
from benchmarks.sustained_benchmark import SustainedOptions, run_sustained_benchmark
from benchmarks.sweep_benchmark import SweepOptions, run_sweep_benchmark

_RESULTS = Path(__file__).parent / "results"
_NOTICEABLE_CORES = 0.1
_TABLE_WIDTH = 160


class Benchmark(Protocol):
    def __call__(
        self, folder: Path, *, is_quick: bool, say: Callable[[str], None]
    ) -> list[Figure]: ...


BENCHMARKS = ("gateway", "spool", "drain", "run_start", "retrieval")
EXTRA = ("growth", "sustained", "backlog", "sweep", "lake", "lake_year")
"""Run by name alone: they take long, or say nothing of speed."""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*BENCHMARKS, *EXTRA]))
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that it works, measures nothing.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; default: results/latest.json, or results/NAME.json for a single one.",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    default=tuple(PEERS),
    type=click.Choice([*PEERS, "none"]),
    help="A gateway to measure beside ours, several times if need be; default: all.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=2, help="Rounds of the gateways.")
@click.option(
    "--soak-seconds",
    type=click.IntRange(min=1),
    default=20,
    help="How long the memory of each gateway is watched; 600 tells its growth.",
)
@click.option(
    "--lake-folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where `python -m benchmarks.lake_database` has put the lake's events.",
)
@click.option(
    "--lake-days",
    type=click.IntRange(1, 30),
    help="Days of the lake's thirty to move; default: all.",
)
@click.option(
    "--minutes", type=click.FloatRange(min=0.5), default=15, help="How long `sustained` lasts."
)
@click.option(
    "--per-second", type=click.FloatRange(min=1), default=100, help="Chat requests of `sustained`."
)
@click.option(
    "--events", type=click.IntRange(min=4), default=1_000_000, help="Events of `backlog`."
)
def main(
    names: Sequence[str],
    quick: bool,
    results: Path | None,
    peers: Sequence[str],
    rounds: int,
    soak_seconds: int,
    lake_folder: Path | None,
    lake_days: int | None,
    minutes: float,
    per_second: float,
    events: int,
) -> None:
    """Measure NAMES, or all that are quick enough, against bare floors on real servers."""
    options = GatewayOptions([peer for peer in peers if peer != "none"], rounds, soak_seconds)
    sustained = SustainedOptions(per_second, minutes, _RESULTS / "sustained_samples.json")
    backlog = BacklogOptions(events, _RESULTS / "backlog_samples.json")
    sweep = SweepOptions(plot=_RESULTS / "sweep.svg")
    benchmarks: dict[str, Benchmark] = {
        "gateway": partial(run_gateway_benchmark, options=options),
        "growth": run_growth_benchmark,
        "spool": run_spool_benchmark,
        "drain": run_drain_benchmark,
        "run_start": run_run_start_benchmark,
        "retrieval": run_retrieval_benchmark,
        "lake": partial(run_lake_benchmark, prepared=lake_folder, day_count=lake_days),
        "lake_year": run_lake_year_benchmark,
        "backlog": partial(run_backlog_benchmark, options=backlog),
        "sweep": partial(run_sweep_benchmark, options=sweep),
        "sustained": partial(run_sustained_benchmark, options=sustained),
    }
    # The servers below run in sessions of their own: they end only if we end in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=True, log_path=False)
    chosen = names or BENCHMARKS
    is_complete = set(chosen) == set(BENCHMARKS)
    file = results or _RESULTS / ("latest.json" if is_complete else f"{'-'.join(chosen)}.json")
    machine = describe_machine()
    foreign_load = ForeignLoad()
    figures: list[Figure] = []
    failures: list[str] = []
    for name in chosen:
        console.rule(name)
        with tempfile.TemporaryDirectory(prefix="sluice-benchmark-") as folder:
            try:
                figures += benchmarks[name](Path(folder), is_quick=quick, say=console.log)
            except (InvariantBroken, ToolsMissing) as error:
                failures.append(f"{name}: {error}")
                console.print(f"Failed: {error}", style="red")
    # Without a terminal rich assumes 80 columns, too few for the table.
    print_figures(Console(width=None if sys.stdout.isatty() else _TABLE_WIDTH), figures, machine)
    cores = foreign_load.cores()
    if cores > _NOTICEABLE_CORES:
        console.print(
            f"Other processes kept {cores:.1f} cores busy meanwhile; figures and ratios suffer.",
            style="yellow",
        )
    if failures:
        raise click.ClickException(f"nothing was written: {'; '.join(failures)}")
    write_figures(file, figures, machine)
    written = [file]
    if "gateway" in chosen:
        written += write_report(file.parent, figures, machine)
    if "lake" in chosen:
        written.append(write_growth_plot(file.parent, figures))
    if "lake_year" in chosen:
        written.append(write_year_plot(file.parent, figures))
    console.print(f"Written to {', '.join(map(str, written))}", highlight=False)


if __name__ == "__main__":
    main()
