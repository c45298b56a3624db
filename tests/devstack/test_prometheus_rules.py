"""Prometheus' configuration: checked by promtool, every alert by a case that fires and one that
does not, every name and label against the list of metrics."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.metrics.definition import Exposer
from tests.devstack.alert_cases import ALERT_CASES, Series
from tests.support.checkout import PROJECT_ROOT
from tests.support.prometheus_server import CONFIGURATION, configuration_in, promtool
from tests.support.promql import check_expression, grouping

FILES = sorted((CONFIGURATION / "rules").glob("*.yml"))
RULES: list[dict[str, Any]] = [
    rule
    for file in FILES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {each["alert"]: each for each in RULES if "alert" in each}
RECORDED = {each["record"]: grouping(each["expr"]) - {"le"} for each in RULES if "record" in each}


def test_promtool_accepts_configuration_and_rules(tmp_path: Path) -> None:
    for result in (
        promtool("check", "config", configuration_in(tmp_path)),
        promtool("check", "rules", *FILES),
    ):
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_jobs_are_those_who_expose_metrics() -> None:
    jobs = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())["scrape_configs"]
    assert {each["job_name"] for each in jobs} == set(Exposer)
    for job in jobs:
        (discovery,) = job["file_sd_configs"]
        for file in discovery["files"]:
            (entry,) = yaml.safe_load((CONFIGURATION / file).read_text())
            assert entry["targets"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    check_expression(rule["expr"], RECORDED)


def _labels_in(text: str) -> set[str]:
    return set(re.findall(r"\$labels\.(\w+)", text))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_to_do(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    notes = alert["annotations"]
    page, _, section = notes["runbook"].partition("#")
    assert section == name.lower()
    assert re.search(rf"^#+ {name}$", (PROJECT_ROOT / page).read_text(), re.MULTILINE)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    assert set(ALERT_CASES) == set(ALERTS)


def _promtool_test(name: str, series: Series, minutes: int, *, fires: bool) -> dict[str, Any]:
    firing = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    return {
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [
            {
                "expr": firing,
                "eval_time": f"{minutes}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
        ],
    }


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    tests = [
        _promtool_test(name, series, case.minutes, fires=fires)
        for name, cases in ALERT_CASES.items()
        for case in cases
        for series, fires in ((case.fires, True), (case.quiet, False))
    ]
    file = tmp_path / "tests.yml"
    content = {
        "rule_files": [str(each) for each in FILES],
        "evaluation_interval": "1m",
        "tests": tests,
    }
    file.write_text(yaml.safe_dump(content))
    result = promtool("test", "rules", file)
    assert result.returncode == 0, result.stdout + result.stderr


def test_such_a_case_can_fail(tmp_path: Path) -> None:
    (case,) = ALERT_CASES["BackendDown"]
    file = tmp_path / "tests.yml"
    test = _promtool_test("BackendDown", case.quiet, case.minutes, fires=True)
    content = {"rule_files": [str(each) for each in FILES], "tests": [test]}
    file.write_text(yaml.safe_dump(content))
    assert promtool("test", "rules", file).returncode == 1
