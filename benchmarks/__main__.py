"""Runs the benchmarks, prints their figures and writes them as JSON."""

import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import click
from rich.console import Console

from benchmarks.drain_benchmark import run_drain_benchmark
from benchmarks.figures import Figure, InvariantBroken, print_figures, write_figures
from benchmarks.gateway_benchmark import run_gateway_benchmark
from benchmarks.load_tools import ToolsMissing
from benchmarks.machine import ForeignLoad, describe_machine
from benchmarks.retrieval_benchmark import run_retrieval_benchmark
from benchmarks.spool_benchmark import run_spool_benchmark

_RESULTS = Path(__file__).parent / "results"
_NOTICEABLE_CORES = 0.1
_TABLE_WIDTH = 160


class Benchmark(Protocol):
    def __call__(
        self, folder: Path, *, is_quick: bool, say: Callable[[str], None]
    ) -> list[Figure]: ...


BENCHMARKS: dict[str, Benchmark] = {
    "gateway": run_gateway_benchmark,
    "spool": run_spool_benchmark,
    "drain": run_drain_benchmark,
    "retrieval": run_retrieval_benchmark,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that it works, measures nothing.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; default: results/latest.json, or results/NAME.json for a single one.",
)
def main(names: tuple[str, ...], quick: bool, results: Path | None) -> None:
    """Measure NAMES, or everything, against bare floors on real servers."""
    # The servers below run in sessions of their own: they end only if we end in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=True, log_path=False)
    chosen = names or tuple(BENCHMARKS)
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
                figures += BENCHMARKS[name](Path(folder), is_quick=quick, say=console.log)
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
    console.print(f"Written to {file}", highlight=False)


if __name__ == "__main__":
    main()
