"""Rows of results: how they are kept, printed and written."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine


class Reference(msgspec.Struct, frozen=True):
    """What a figure is compared with, in the figure's unit."""

    name: str
    value: float


class Figure(msgspec.Struct, frozen=True):
    """One measured value. `ratio` is the value over the reference's value."""

    name: str
    value: float
    unit: str
    against: Reference
    setup: str = ""
    """What the figure depends on besides the machine, the broker's sync setting above all."""

    @property
    def ratio(self) -> float | None:
        """None where the reference is 0."""
        return self.value / self.against.value if self.against.value else None


class InvariantBroken(Exception):
    """What must hold whatever the speed does not hold: the figures mean nothing."""


def require(is_true: bool, message: str) -> None:
    """Raise InvariantBroken with `message` unless `is_true`."""
    if not is_true:
        raise InvariantBroken(message)


def write_figures(file: Path, figures: Sequence[Figure], machine: Machine) -> None:
    """Write a JSON list with the keys name, value, unit, against, ratio, setup and machine
    per row."""
    rows = [
        {
            "name": figure.name,
            "value": _rounded(figure.value),
            "unit": figure.unit,
            "against": {
                "name": figure.against.name,
                "value": _rounded(figure.against.value),
            },
            "ratio": None if figure.ratio is None else round(figure.ratio, 4),
            "setup": figure.setup,
            "machine": machine,
        }
        for figure in figures
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")


def print_figures(console: Console, figures: Sequence[Figure], machine: Machine) -> None:
    """Print the rows as a table, with the machine below it."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("against")
    table.add_column("ratio", justify="right")
    for figure in figures:
        table.add_row(
            figure.name,
            _shown(figure.value),
            figure.unit,
            f"{_shown(figure.against.value)}  {figure.against.name}",
            "" if figure.ratio is None else f"{figure.ratio:.3f}",
        )
    console.print(table)
    console.print(
        f"{machine.cpu_model}, {machine.core_count} cores, {machine.memory_gib} GiB,"
        f" {machine.kernel}, Python {machine.python_version}",
        style="dim",
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}") if abs(value) < 100_000 else round(value)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.3g}"
