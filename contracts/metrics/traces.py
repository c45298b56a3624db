"""What became of spans."""

from contracts.metrics.definition import Exposer, Label, Metric

OUTCOME = Label.of(
    "outcome",
    "what became of them; all but `exported` are lost",
    ("exported", "queue_full", "export_failed", "shutdown"),
)

SPANS = Metric(
    "sluice_trace_spans_total",
    "counter",
    "Spans of traced calls, by what became of them",
    (Exposer.GATEWAY, Exposer.ENCODER),
    (OUTCOME,),
    "spans",
)
