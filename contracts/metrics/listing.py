"""The one list of metrics: who exposes what, in which unit, with which labels."""

from types import ModuleType

from contracts.metrics import encoder, gateway, pipeline, telemetry
from contracts.metrics.definition import Exposer, Metric
from contracts.metrics.processes import PROCESS_METRICS


def _defined_in(module: ModuleType) -> tuple[Metric, ...]:
    return tuple(each for each in vars(module).values() if isinstance(each, Metric))


METRICS: tuple[Metric, ...] = (
    *_defined_in(gateway),
    *_defined_in(encoder),
    *_defined_in(telemetry),
    *_defined_in(pipeline),
    *PROCESS_METRICS,
)


def metrics_of(exposer: Exposer) -> tuple[Metric, ...]:
    """Return what `exposer` answers `GET /metrics` with."""
    return tuple(each for each in METRICS if exposer in each.exposed_by)
