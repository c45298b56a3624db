"""Delay and drain rate of the whole platform against its load, up to saturation."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from benchmarks.figures import Figure, Reference
from benchmarks.sustained_benchmark import (
    Outcome,
    platform_with_documents,
    put_under_load,
    require_once,
)

_RATES = (10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0)
_INCHES = (9.0, 3.2)


@dataclass(frozen=True)
class SweepOptions:
    """How long each load lasts, and where the plot goes."""

    seconds: float = 60.0
    plot: Path | None = None


@dataclass(frozen=True)
class _Point:
    per_second: float
    answered_per_second: float
    settled_per_second: float
    """Deliveries, over all consumers, while requests came."""
    p50_seconds: float
    p95_seconds: float


def run_sweep_benchmark(
    folder: Path, *, is_quick: bool, say: Callable[[str], None], options: SweepOptions
) -> list[Figure]:
    """Put one platform under one load after the other.

    Raises:
        InvariantBroken: an answered call is not there exactly once.
    """
    rates, seconds = ((5.0,), 10.0) if is_quick else (_RATES, options.seconds)
    points, answered, failed = [], 0, 0
    with platform_with_documents(folder) as stack:
        for rate in rates:
            say(f"{rate:g} requests a second for {seconds:.0f} s")
            outcome = asyncio.run(put_under_load(stack, rate, seconds, say, name=f"load{rate:g}"))
            points.append(_point(outcome, rate, seconds))
            answered += outcome.traffic.answered
            failed += outcome.traffic.failed
            if failed or points[-1].answered_per_second < 0.9 * rate:
                say("the machine does not send or answer more")
                break
        require_once(stack, answered, 0)
    if options.plot is not None and not is_quick:
        _draw(points, options.plot)
    return _figures(points, seconds)


def _point(outcome: Outcome, rate: float, seconds: float) -> _Point:
    traffic, samples = outcome.traffic, outcome.samples
    percentiles = quantiles(traffic.delays, n=100) if len(traffic.delays) > 1 else [0.0] * 99
    whole = seconds + outcome.settled_seconds
    return _Point(
        rate,
        traffic.answered / max(whole if traffic.late else seconds, seconds),
        outcome.deliveries / whole if samples else 0.0,
        percentiles[49],
        percentiles[94],
    )


def _figures(points: list[_Point], seconds: float) -> list[Figure]:
    setup = f"{seconds:.0f} s a load, broker syncs always"
    return [
        figure
        for point in points
        for figure in (
            Figure(
                f"sweep {point.per_second:g}/s: answer to visible row, p50",
                point.p50_seconds,
                "s",
                Reference("p95", point.p95_seconds),
                setup,
            ),
            Figure(
                f"sweep {point.per_second:g}/s: deliveries settled",
                point.settled_per_second,
                "events/s",
                Reference("requests answered a second", point.answered_per_second),
                setup,
            ),
        )
    ]


def _draw(points: list[_Point], file: Path) -> None:
    # Takes a second to load, which only this needs.
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Drawing

    rates = [point.per_second for point in points]
    drawing = Drawing(figsize=_INCHES, layout="constrained")
    delay, drain = drawing.subplots(1, 2)
    delay.plot(rates, [point.p50_seconds for point in points], "o-", label="p50")
    delay.plot(rates, [point.p95_seconds for point in points], "s--", label="p95")
    delay.set_title("answer to visible row, s", fontsize=9)
    delay.legend(frameon=False, fontsize=8)
    drain.plot(rates, [point.settled_per_second for point in points], "o-", color="C2")
    drain.set_title("deliveries settled a second", fontsize=9)
    for axes in (delay, drain):
        axes.set_xlabel("chat requests a second", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "sluice"}):
        drawing.savefig(file, format="svg", metadata={"Date": None})
