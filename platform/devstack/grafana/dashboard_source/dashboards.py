"""The five dashboards."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    QueryVariable,
    Row,
    TextBoxVariable,
)
from grafana_foundation_sdk.models.dashboard import (
    VariableHide,
    VariableOption,
    VariableRefresh,
)

from dashboard_source import gateway, lake, pipeline, request, retrieval
from dashboard_source.panels import POSTGRES

Panels = Sequence[tuple[str, Sequence[Any]]]
"""(title of a row, its panels)"""

DAGSTER_URL = "http://localhost:3000"
"""As the reader's browser reaches Dagster; the variable `dagster` of each dashboard."""


def all_dashboards() -> dict[str, Dashboard]:
    """Return file name → dashboard."""
    return {
        "gateway": _dashboard("gateway", "Gateway", gateway.panel_rows),
        "retrieval": _dashboard("retrieval", "Retrieval", retrieval.panel_rows),
        "pipeline": _dashboard("pipeline", "Pipeline", pipeline.panel_rows),
        "lake": _dashboard("lake", "Lake", lake.panel_rows),
        "request": _request(),
    }


def _dashboard(name: str, title: str, rows: Callable[[], Panels]) -> Dashboard:
    dashboard = (
        Dashboard(f"Sluice / {title}")
        .uid(f"sluice-{name}")
        .tags(["sluice"])
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .with_variable(TextBoxVariable("dagster").label("Dagster UI").default_value(DAGSTER_URL))
    )
    numbers = count(1)
    for row, panels in rows():
        dashboard = dashboard.with_row(Row(row).id(next(numbers)))
        for panel in panels:
            dashboard = dashboard.with_panel(panel.id(next(numbers)))
    return dashboard


def _request() -> Dashboard:
    stored_at = (
        QueryVariable("stored_at")
        .datasource(POSTGRES)
        .query(request.STORED_AT)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .current(VariableOption(selected=True, text="All", value="$__all"))
        .hide(VariableHide.HIDE_VARIABLE)
    )
    return (
        _dashboard("request", "One request", request.panel_rows)
        .time("now-24h", "now")
        .with_variable(TextBoxVariable("correlation_id").label("Correlation ID").default_value(""))
        .with_variable(stored_at)
    )
