"""Pictures of the lake's benchmarks, as SVG beside their figures."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Figure

_WIDTH_INCHES, _PLOT_INCHES = 9.0, 2.6
_PLOTS_A_ROW = 3
Line = tuple[Sequence[float], Sequence[float]]


def write_growth_plot(folder: Path, figures: Sequence[Figure]) -> Path:
    """Draw the rate of each batch of the growing table against the table's snapshots."""
    points = [
        (float(found[1]), figure.value)
        for figure in figures
        if (found := re.fullmatch(r"lake: growth, (\d+) snapshots", figure.name))
    ]
    snapshots, rates = [each[0] for each in points], [each[1] for each in points]
    file = folder / "lake_growth.svg"
    draw_lines(
        file,
        {"rows a second of a batch": {"batches of one size": (snapshots, rates)}},
        along="snapshots of the table",
        is_dotted=True,
    )
    return file


def write_year_plot(folder: Path, figures: Sequence[Figure]) -> Path:
    """Draw the table's files, metadata and times over the year, with and without maintenance."""
    plots: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for figure in figures:
        found = re.fullmatch(r"lake year: (.+), day (\d+)", figure.name)
        if found is None:
            continue
        lines = plots.setdefault(f"{found[1]}, {figure.unit}", {})
        for label, value in (
            (figure.setup, figure.value),
            (figure.against.name, figure.against.value),
        ):
            across, up = lines.setdefault(label, ([], []))
            across.append(float(found[2]))
            up.append(value)
    file = folder / "lake_year.svg"
    draw_lines(file, plots, along="days")
    return file


def draw_lines(
    file: Path,
    plots: Mapping[str, Mapping[str, Line]],
    *,
    along: str,
    is_dotted: bool = False,
) -> None:
    """Draw plots beside and below each other: title → label of a line → its values along and up."""
    # Takes a second to load, which only this needs.
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Drawing

    columns = min(len(plots), _PLOTS_A_ROW)
    rows = -(-len(plots) // columns)
    drawing = Drawing(figsize=(_WIDTH_INCHES, _PLOT_INCHES * rows), layout="constrained")
    all_axes = drawing.subplots(rows, columns, squeeze=False).flat
    for axes, (title, lines) in zip(all_axes, plots.items(), strict=False):
        for label, (across, up) in lines.items():
            style = {"marker": ".", "linestyle": ""} if is_dotted else {}
            axes.plot(across, up, label=label, **style)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(along, fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            axes.legend(fontsize=7)
    # Text as text: a tenth of the size. A fixed salt: the same figures give the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "sluice"}):
        drawing.savefig(file, format="svg", metadata={"Date": None})
