"""The routes about the gateway itself."""

from typing import Any

from msgspec import Struct

from gateway.openapi.errors import EVERYWHERE
from gateway.openapi.headers import OF_EVERY_ANSWER
from gateway.openapi.operations import JSON, Answer, Operation, Parameter, reference

STRUCTS: tuple[type[Struct], ...] = ()

SCHEMAS: dict[str, Any] = {
    "Readiness": {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"enum": ["starting", "ready", "stopping"]}},
    },
    "Health": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": ["ok", "degraded"]},
            "broker": {"type": "object"},
            "database": {"type": "object"},
            "encoder": {"type": "object"},
            "backends": {"type": "array", "items": {"type": "object"}},
        },
    },
}

OPERATIONS = (
    Operation(
        method="get",
        path="/healthz",
        name="showHealth",
        group="Platform",
        summary="Tell that the gateway lives, and with `verbose` how the parts around it are.",
        description="Needs an API key only with `verbose`.",
        parameters=(
            Parameter(
                "verbose",
                "query",
                "Ask the broker, the database, the encoder and the backends.",
                {"type": "string"},
            ),
        ),
        answers={200: Answer("It lives.", {JSON: reference("Health")}, OF_EVERY_ANSWER)},
        errors=EVERYWHERE,
    ),
    Operation(
        method="get",
        path="/readyz",
        name="showReadiness",
        group="Platform",
        summary="Tell whether requests are welcome: until the gateway is told to stop.",
        description="Needs no API key.",
        answers={
            200: Answer("They are.", {JSON: reference("Readiness")}, OF_EVERY_ANSWER),
            503: Answer("It starts or stops.", {JSON: reference("Readiness")}, OF_EVERY_ANSWER),
        },
        errors=EVERYWHERE,
    ),
    Operation(
        method="get",
        path="/metrics",
        name="showMetrics",
        group="Platform",
        summary="Show the counters and histograms in Prometheus's text format.",
        answers={200: Answer("The metrics.", {"text/plain": {"type": "string"}}, OF_EVERY_ANSWER)},
        errors=EVERYWHERE,
    ),
    Operation(
        method="get",
        path="/openapi.json",
        name="showDocument",
        group="Platform",
        summary="Show this document.",
        description="Needs no API key.",
        answers={200: Answer("The document.", {JSON: {"type": "object"}}, OF_EVERY_ANSWER)},
        errors=EVERYWHERE,
    ),
)
