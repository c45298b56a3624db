"""The kinds of panels that the dashboards are made of."""

from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import common, logs, loki, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
)

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="sluice-prometheus")
LOKI = DataSourceRef(type_val="loki", uid="sluice-loki")
POSTGRES = DataSourceRef(type_val="postgres", uid="sluice-postgres")
DAGSTER = DataSourceRef(type_val="postgres", uid="sluice-dagster")

WHOLE, HALF, THIRD, QUARTER = 24, 12, 8, 6

Query = tuple[str, str]
"""PromQL, and what its series are called: Grafana's template."""


class SqlQuery(Dataquery):
    """A query of a PostgreSQL data source, of which the SDK has no model."""

    def __init__(self, sql: str, source: DataSourceRef) -> None:
        self.sql = sql
        self.source = source

    def to_json(self) -> dict[str, object]:
        return {
            "refId": "A",
            "datasource": self.source,
            "format": "table",
            "rawQuery": True,
            "rawSql": self.sql,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "SqlQuery":
        return cls(data["rawSql"], data["datasource"])


class _Built(Builder[Dataquery]):
    def __init__(self, query: Dataquery) -> None:
        self._query = query

    def build(self) -> Dataquery:
        return self._query


def curves(
    title: str,
    *queries: Query,
    unit: str = "short",
    description: str = "",
    span: int = THIRD,
    stacked: bool = False,
) -> timeseries.Panel:
    """Lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .span(span)
        .height(8)
        .line_width(2)
        .fill_opacity(20 if stacked else 8)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    for query in _targets(queries):
        panel = panel.with_target(query)
    return panel


def figure(
    title: str,
    expression: str,
    *,
    unit: str = "short",
    bad_from: float | None = None,
    bad_below: float | None = None,
    description: str = "",
    span: int = QUARTER,
) -> stat.Panel:
    """One number, red from `bad_from` on or below `bad_below`."""
    steps = [Threshold(value=None, color="red" if bad_below is not None else "green")]
    if bad_below is not None:
        steps.append(Threshold(value=bad_below, color="green"))
    if bad_from is not None:
        steps.append(Threshold(value=bad_from, color="red"))
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .span(span)
        .height(4)
        .thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(prometheus.Dataquery().expr(expression).instant().ref_id("A"))
    )


def log_lines(title: str, expression: str, *, description: str = "") -> logs.Panel:
    """Lines of Loki, newest first."""
    return (
        logs.Panel()
        .title(title)
        .description(description)
        .datasource(LOKI)
        .span(WHOLE)
        .height(9)
        .show_time(True)
        .enable_log_details(True)
        .sort_order(common_models.LogsSortOrder.DESCENDING)
        .with_target(loki.Dataquery().expr(expression).ref_id("A"))
    )


def rows(
    title: str,
    sql: str,
    *,
    source: DataSourceRef = POSTGRES,
    links: Sequence[tuple[str, str, str]] = (),
    description: str = "",
    span: int = WHOLE,
    height: int = 7,
) -> table.Panel:
    """A table of what `sql` returns. Links: (column, title, URL)."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(source)
        .span(span)
        .height(height)
        .with_target(_Built(SqlQuery(sql, source)))
    )
    for column, name, url in links:
        link = {"title": name, "url": url, "targetBlank": url.startswith("$")}
        panel = panel.override_by_name(column, [DynamicConfigValue(id_val="links", value=[link])])
    return panel


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery().expr(expression).legend_format(legend).range().ref_id(letter)
        for letter, (expression, legend) in zip("ABCDEFGH", queries, strict=False)
    ]
