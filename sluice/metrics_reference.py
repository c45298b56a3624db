"""The list of metrics as a page."""

from collections.abc import Iterator

from contracts.metrics.definition import Exposer, Label, Metric
from contracts.metrics.listing import metrics_of

_TITLES = {
    Exposer.GATEWAY: "The gateway, `:8080/metrics`",
    Exposer.ENCODER: "The encoder, `:3001/metrics`",
    Exposer.TELEMETRY: "Vector, `:9598/metrics`, of the events on `telemetry.>`",
    Exposer.PIPELINE: "`sluice metrics`, `:9599/metrics`",
}
_MOST_NAMED = 6


def reference_page() -> str:
    """Return docs/metrics.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "Written by `sluice metrics --reference`. Beside each label: how many values it may have."
    for exposer, title in _TITLES.items():
        yield from (
            "",
            f"## {title}",
            "",
            "| metric | type | unit | labels | |",
            "|---|---|---|---|---|",
        )
        for metric in metrics_of(exposer):
            yield (
                f"| `{metric.name}` | {metric.kind} | {metric.unit} |"
                f" {', '.join(f'`{each.name}`' for each in metric.labels)} | {metric.help} |"
            )
        yield from ("", "| label | at most | |", "|---|---|---|")
        for label in _labels_of(metrics_of(exposer)):
            yield f"| `{label.name}` | {label.at_most} | {label.meaning}{_values_of(label)} |"


def _labels_of(metrics: tuple[Metric, ...]) -> list[Label]:
    return list(dict.fromkeys(label for metric in metrics for label in metric.labels))


def _values_of(label: Label) -> str:
    if label.values is None or len(label.values) > _MOST_NAMED:
        return ""
    return f": {', '.join(f'`{each}`' for each in sorted(label.values))}"
