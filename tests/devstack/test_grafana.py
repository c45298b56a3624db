"""Grafana's files: made from their source, each query against the lists, each link to a page.

Grafana and Loki themselves cannot be run here. The dashboards are built by Grafana's own SDK, so
their shape is that of its schemas; test_dashboards.py asks their questions of the real Prometheus
and PostgreSQL.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.javascript import require_packages
from tests.devstack.test_prometheus_rules import ALERTS, RECORDED
from tests.support.checkout import PROJECT_ROOT
from tests.support.dashboards import GRAFANA, Question, dashboards, panels, questions
from tests.support.promql import check_expression

LOGQL = Path(__file__).with_name("logql")
LOKI = GRAFANA.parent / "loki" / "loki.yaml"
SOURCES: dict[str, dict[str, Any]] = {
    each["uid"]: each
    for each in yaml.safe_load((GRAFANA / "provisioning/datasources/sluice.yaml").read_text())[
        "datasources"
    ]
}
QUESTIONS = list(questions())
ALL = dashboards()
LOKI_SECTIONS = {
    "auth_enabled",
    "server",
    "common",
    "schema_config",
    "limits_config",
    "compactor",
    "analytics",
}
"""Those that we use, of https://grafana.com/docs/loki/latest/configure/."""


def _of(source: str) -> list[Any]:
    return [
        pytest.param(each, id=f"{each.dashboard}: {each.panel}")
        for each in QUESTIONS
        if each.source == source
    ]


def test_the_files_are_what_their_source_makes(tmp_path: Path) -> None:
    """`make dashboards` writes them anew."""
    subprocess.run(
        [sys.executable, "-m", "dashboard_source", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(GRAFANA)},
        check=True,
    )
    assert dashboards(tmp_path) == ALL
    assert set(ALL) == {"gateway", "retrieval", "pipeline", "lake", "request"}


@pytest.mark.parametrize("question", _of("prometheus"))
def test_a_panel_asks_for_metrics_that_there_are(question: Question) -> None:
    check_expression(question.text, RECORDED)


@pytest.mark.parametrize("name", ALL)
def test_a_dashboard_is_whole(name: str) -> None:
    dashboard = ALL[name]
    assert dashboard["uid"] == f"sluice-{name}"
    identifiers = [each["id"] for each in dashboard["panels"]]
    assert len(identifiers) == len(set(identifiers))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels(dashboard):
        source = SOURCES[panel["datasource"]["uid"]]
        assert source["type"] == panel["datasource"]["type"]


def test_links_lead_to_dashboards_and_fill_variables_that_they_have() -> None:
    texts = [str(each) for each in ALL.values()] + [str(SOURCES["sluice-loki"])]
    links = [each for text in texts for each in re.findall(r"/d/(sluice-\w+)\?var-(\w+)=", text)]
    assert links
    for uid, variable in links:
        (target,) = [each for each in ALL.values() if each["uid"] == uid]
        assert variable in {each["name"] for each in target["templating"]["list"]}
    for alert in ALERTS.values():
        assert alert["annotations"]["dashboard"].removeprefix("/d/sluice-") in ALL


def _are_logql(queries: list[str]) -> list[bool]:
    require_packages(LOGQL)
    result = subprocess.run(
        ["node", LOGQL / "parse.mjs"],
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[bool] = json.loads(result.stdout)
    return answers


def test_logql_is_what_grafanas_grammar_takes() -> None:
    queries = [each.text for each in QUESTIONS if each.source == "loki"]
    page = (PROJECT_ROOT / "docs" / "observability.md").read_text()
    queries += re.findall(r"`(\{source=.+?)`[.,]", page)
    assert len(queries) > 1
    assert _are_logql([*queries, '{source="telemetry"} | | json']) == [True] * len(queries) + [
        False
    ]


@pytest.mark.parametrize("question", _of("loki"))
def test_logql_selects_by_labels_that_vector_sets(question: Question) -> None:
    selector = re.match(r"\{(.+?)\} \| (\w+)=", question.text)
    assert selector is not None, question.text
    labels = set(re.findall(r"(\w+)(?:=~|=|!=)\"", selector[1]))
    assert labels <= {"source", "kind", "status"}
    assert selector[2] == "correlation_id"


def test_loki_takes_structured_metadata() -> None:
    configuration = yaml.safe_load(LOKI.read_text())
    assert set(configuration) == LOKI_SECTIONS
    assert configuration["limits_config"]["allow_structured_metadata"] is True
    (schema,) = configuration["schema_config"]["configs"]
    assert (schema["schema"], schema["store"]) == ("v13", "tsdb")
    assert schema["index"]["period"] == "24h"
