"""The gateways' comparison for a reader: a Markdown table and a plot."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.gateway_metrics import (
    ADDED_P99,
    BESIDE_LONG_P99,
    COLD_START,
    DIRECT,
    FIRST_TOKEN_P50,
    GAP_P99,
    GROWTH,
    MESSAGES_RATE,
    METRICS,
    P99,
    PROCESSOR,
    RATE,
    RESIDENT,
    Metric,
)
from benchmarks.machine import Machine

_PLOTTED = (RATE[32], P99[32], FIRST_TOKEN_P50, RESIDENT)
_TABLED = (
    *RATE.values(),
    *P99.values(),
    PROCESSOR,
    ADDED_P99,
    BESIDE_LONG_P99,
    MESSAGES_RATE,
    FIRST_TOKEN_P50,
    GAP_P99,
    COLD_START,
    RESIDENT,
    GROWTH,
)
_INCHES = (10, 2.6)
_LEAST_DRAWN = 0.01
_WIDE_RANGE = 20

Table = dict[str, dict[Metric, float]]
"""Values by gateway and metric."""


def write_report(folder: Path, figures: Sequence[Figure], machine: Machine) -> list[Path]:
    """Write `gateway.md` and `gateway.svg` to `folder` and return their paths."""
    table = _table_of(figures)
    markdown, plot = folder / "gateway.md", folder / "gateway.svg"
    setups = sorted({figure.setup for figure in figures if figure.setup})
    markdown.write_text(
        f"{_markdown(table)}\n\n{machine.cpu_model}, {machine.core_count} cores,"
        f" {machine.kernel}, Python {machine.python_version}; {'; '.join(setups)}.\n"
    )
    _plot(table, plot)
    return [markdown, plot]


def _table_of(figures: Sequence[Figure]) -> Table:
    metrics = {metric.name: metric for metric in METRICS}
    table: Table = {}
    for figure in figures:
        name, _, metric_name = figure.name.partition(": ")
        if metric_name in metrics:
            table.setdefault(name, {})[metrics[metric_name]] = figure.value
    return table


def _markdown(table: Table) -> str:
    gateways = [name for name in table if name != DIRECT]
    lines = [
        f"| | {' | '.join(gateways)} |",
        f"|---|{'---:|' * len(gateways)}",
    ]
    for metric in _TABLED:
        cells = [_shown(table[name].get(metric)) for name in gateways]
        lines.append(f"| {metric.name}, {metric.unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _plot(table: Table, file: Path) -> None:
    # Takes a second to load, which only this needs.
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Drawing

    gateways = [name for name in table if name != DIRECT]
    drawing = Drawing(figsize=_INCHES, layout="constrained")
    for axes, metric in zip(drawing.subplots(1, len(_PLOTTED)), _PLOTTED, strict=True):
        values = [max(table[name].get(metric, 0.0), _LEAST_DRAWN) for name in gateways]
        bars = axes.bar(gateways, values, color=[f"C{number}" for number in range(len(gateways))])
        axes.bar_label(bars, [_shown(table[name].get(metric)) for name in gateways], fontsize=7)
        unit = metric.unit
        if max(values) > _WIDE_RANGE * min(values):
            axes.set_yscale("log")
            axes.minorticks_off()
            unit += ", logarithmic"
        axes.set_title(f"{metric.name}\n{unit}", fontsize=8)
        axes.margins(y=0.15)
        axes.tick_params(axis="x", labelrotation=60, labelsize=7)
        axes.tick_params(axis="y", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    # Text as text: a tenth of the size. A fixed salt: the same figures give the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "sluice"}):
        drawing.savefig(file, format="svg", metadata={"Date": None})
