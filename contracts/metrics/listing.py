"""The one list of metrics: who exposes what, in which unit, with which labels."""

from contracts.metrics import encoder, gateway, pipeline, telemetry, traces
from contracts.metrics.definition import Exposer, Metric, defined_in
from contracts.metrics.processes import PROCESS_METRICS

METRICS: tuple[Metric, ...] = (
    *defined_in(gateway),
    *defined_in(encoder),
    *defined_in(telemetry),
    *defined_in(pipeline),
    *defined_in(traces),
    *PROCESS_METRICS,
)


def metrics_of(exposer: Exposer) -> tuple[Metric, ...]:
    """Return what `exposer` answers `GET /metrics` with."""
    return tuple(each for each in METRICS if exposer in each.exposed_by)
