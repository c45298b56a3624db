"""What is measured of every gateway, and how the samples become figures."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.figures import Figure, Reference

DIRECT = "no gateway"
FLOOR = "floor"
OURS = "Sluice"

CONCURRENCIES = (1, 32, 256)
PACE_PER_SECOND = 500
STREAM_COUNT = 100


@dataclass(frozen=True)
class Metric:
    """One row of the comparison."""

    name: str
    unit: str
    against: "str | Metric" = FLOOR
    """Whose value a value is compared with, or which other metric of the same gateway."""
    is_added: bool = False
    """The value is what a gateway adds to that of `DIRECT`."""


RATE = {each: Metric(f"chat completions, {each} in flight", "requests/s") for each in CONCURRENCIES}
P50 = {each: Metric(f"p50, {each} in flight", "ms") for each in CONCURRENCIES}
P99 = {each: Metric(f"p99, {each} in flight", "ms") for each in CONCURRENCIES}
PROCESSOR = Metric("processor time of a request", "ms")
PACED_RATE = Metric(f"answered of {PACE_PER_SECOND} requests/s", "requests/s", DIRECT)
PACED_P99 = Metric(f"p99 at {PACE_PER_SECOND} requests/s", "ms", DIRECT)
ADDED_P99 = Metric(f"added p99 at {PACE_PER_SECOND} requests/s", "ms", DIRECT, is_added=True)
BESIDE_LONG_P99 = Metric(
    f"p99 at {PACE_PER_SECOND} requests/s beside 100k-token prompts", "ms", PACED_P99
)
LONG_P50 = Metric("p50 of a 100k-token prompt", "ms", DIRECT)
MESSAGES_RATE = Metric("Anthropic messages translated, 32 in flight", "requests/s", RATE[32])
FIRST_TOKEN_P50 = Metric("added time to first token, p50", "ms", DIRECT, is_added=True)
FIRST_TOKEN_P99 = Metric("added time to first token, p99", "ms", DIRECT, is_added=True)
GAP_P99 = Metric(
    f"added time between chunks at {STREAM_COUNT} streams, p99", "ms", DIRECT, is_added=True
)
STREAM_PROCESSOR = Metric("processor time of a stream's chunk", "ms")
COLD_START = Metric("cold start", "s")
RESIDENT = Metric("resident memory after the load", "MiB")
GROWTH = Metric("growth of resident memory", "MiB/min")
FAILED = Metric("failed requests", "requests", DIRECT)

METRICS: Sequence[Metric] = (
    *RATE.values(),
    *P50.values(),
    *P99.values(),
    PROCESSOR,
    PACED_RATE,
    ADDED_P99,
    BESIDE_LONG_P99,
    LONG_P50,
    MESSAGES_RATE,
    FIRST_TOKEN_P50,
    FIRST_TOKEN_P99,
    GAP_P99,
    STREAM_PROCESSOR,
    COLD_START,
    RESIDENT,
    GROWTH,
    FAILED,
)
_SAMPLED_AS = {ADDED_P99: PACED_P99}
"""Added values whose samples are another metric's."""


@dataclass
class Samples:
    """What was measured, by gateway and metric, a value for each round."""

    values: dict[str, dict[Metric, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, name: str, metric: Metric, value: float) -> None:
        self.values[name][metric].append(value)

    def median(self, name: str, metric: Metric) -> float | None:
        """Return the median of the rounds; None where nothing was measured."""
        values = self.values.get(name, {}).get(_SAMPLED_AS.get(metric, metric))
        return median(values) if values else None


def make_figures(samples: Samples, setups: Mapping[str, str]) -> list[Figure]:
    """Return a figure for each metric of each gateway; `setups` says how each was run."""
    figures = []
    for metric in METRICS:
        for name, setup in setups.items():
            value = samples.median(name, metric)
            if value is None:
                continue
            if isinstance(metric.against, Metric):
                reference_name = metric.against.name
                reference = samples.median(name, metric.against)
            else:
                reference_name = metric.against
                reference = samples.median(metric.against, metric)
            if metric.is_added:
                if name == DIRECT or reference is None:
                    continue
                value -= reference
            figures.append(
                Figure(
                    f"{name}: {metric.name}",
                    value,
                    metric.unit,
                    Reference(reference_name, reference or 0.0),
                    setup,
                )
            )
    return figures
