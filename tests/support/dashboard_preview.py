"""Draws what Grafana would show, from Prometheus' real answers: a picture of each dashboard.

For a person's eye: is each panel legible, its unit right, its legend not too long? Tables and log
lines are frames with their titles.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.dates
import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tests.support.dashboards import dashboards

mpl.use("svg")

Answers = Mapping[tuple[str, str, str], list[dict[str, Any]]]
"""(dashboard, panel, PromQL) → series."""

_UNIT_HEIGHT = 0.32
_WIDTH = 17.0
_GREY = "#8e8e8e"


def draw_all(answers: Answers, folder: Path) -> None:
    """Draw each dashboard into `folder` as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, dashboard in dashboards().items():
        _draw(name, dashboard, answers).savefig(folder / f"{name}.png", dpi=70)


def _draw(name: str, dashboard: dict[str, Any], answers: Answers) -> Figure:
    rows = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in dashboard["panels"])
    figure = Figure(figsize=(_WIDTH, rows * _UNIT_HEIGHT + 0.6), facecolor="white")
    height = rows * _UNIT_HEIGHT + 0.6
    figure.text(0.01, 1 - 0.35 / height, dashboard["title"], fontsize=15, weight="bold")
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        left, top = place["x"] / 24, 1 - (place["y"] * _UNIT_HEIGHT + 0.6) / height
        tall = place["h"] * _UNIT_HEIGHT / height
        if panel["type"] == "row":
            figure.text(0.01, top - tall * 0.8, panel["title"], fontsize=11, color=_GREY)
            continue
        legend_space = 0.24 if panel["type"] == "timeseries" else 0.06
        axes = figure.add_axes(
            (
                left + 0.035,
                top - tall * (1 - legend_space),
                place["w"] / 24 - 0.05,
                tall * (0.86 - legend_space),
            )
        )
        axes.set_title(panel["title"], fontsize=9, loc="left")
        found = [
            (target, answers.get((name, panel["title"], target["expr"]), []))
            for target in panel["targets"]
            if "expr" in target
        ]
        {"timeseries": _curves, "stat": _figure}.get(panel["type"], _frame)(axes, panel, found)
    return figure


def _curves(axes: Axes, panel: dict[str, Any], found: list[Any]) -> None:
    formatted = _formatter(panel["fieldConfig"]["defaults"].get("unit", "short"))
    for target, series in found:
        for each in series:
            moments = [datetime.fromtimestamp(float(at), UTC) for at, _ in each["values"]]
            values = [float(value) for _, value in each["values"]]
            label = _legend(target.get("legendFormat", ""), each["metric"])
            axes.plot(moments, values, linewidth=1.2, label=label)  # type: ignore[arg-type]
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    highest = max((max(line.get_ydata()) for line in axes.lines), default=0)  # type: ignore[type-var]
    axes.set_ylim(bottom=-0.02 * (highest or 1), top=1.15 * (highest or 1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: formatted(value)))
    axes.xaxis.set_major_formatter(mpl.dates.DateFormatter("%H:%M:%S"))
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    if axes.lines:
        axes.legend(fontsize=6, ncols=3, loc="upper left", bbox_to_anchor=(0, -0.16), frameon=False)


def _figure(axes: Axes, panel: dict[str, Any], found: list[Any]) -> None:
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    values = [float(each["value"][1]) for _, series in found for each in series]
    text = _formatter(unit)(values[0]) if values else "no data"
    axes.axis("off")
    color = "#37872d"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if values and (step["value"] is None or values[0] >= step["value"]):
            color = {"green": "#37872d", "red": "#c4162a"}[step["color"]]
    axes.text(0.5, 0.4, text, fontsize=20, ha="center", va="center", color=color)


def _frame(axes: Axes, panel: dict[str, Any], _found: list[Any]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, panel["type"], ha="center", va="center", color=_GREY)


def _legend(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), template)


def _formatter(unit: str) -> Any:
    match unit:
        case "s":
            return lambda value: f"{value * 1000:.0f} ms" if abs(value) < 1 else f"{value:.3g} s"
        case "percentunit":
            return lambda value: f"{value:.1%}"
        case "bytes":
            return lambda value: f"{value / 2**20:.3g} MiB"
        case "reqps" | "eps":
            return lambda value: f"{value:.3g}/s"
        case _:
            return lambda value: f"{value:.4g}"
