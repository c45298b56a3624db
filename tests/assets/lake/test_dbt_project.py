"""The dbt project: what its files say, and what the marts say of a day in the lake."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from dagster import AssetKey

from assets.lake.dbt_project import DBT_DIR, read_check_specs, read_model_specs
from assets.lake.report_asset import REPORTED_MARTS
from contracts.lake import LAKE_TABLES
from tests.support.dagster_runs import definitions


def test_the_sources_are_the_lakes_tables() -> None:
    (source,) = yaml.safe_load((DBT_DIR / "models" / "sources.yml").read_text())["sources"]

    assert [table["name"] for table in source["tables"]] == [table.name for table in LAKE_TABLES]


def _dbt(tmp_path: Path, command: str, *arguments: str) -> dict[str, Any]:
    """Run the dbt command and return its manifest."""
    subprocess.run(
        [
            Path(sys.executable).with_name("dbt"),
            *(command, "--project-dir", DBT_DIR, "--profiles-dir", DBT_DIR),
            *("--target-path", tmp_path, "--log-path", tmp_path),
            *arguments,
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "SLUICE_DBT_MARTS_FILE": str(tmp_path / "analytics.duckdb")},
    )
    manifest: dict[str, Any] = json.loads((tmp_path / "manifest.json").read_text())
    return manifest


def test_the_specs_are_what_dagster_dbt_makes_of_the_manifest(tmp_path: Path) -> None:
    from dagster_dbt import DagsterDbtTranslator
    from dagster_dbt.asset_utils import build_dbt_specs

    manifest = _dbt(tmp_path, "parse")
    specs, checks = build_dbt_specs(
        translator=DagsterDbtTranslator(),
        manifest=manifest,
        select="fqn:*",
        exclude="",
        selector="",
        io_manager_key=None,
        project=None,
    )

    theirs = {spec.key: spec for spec in specs}
    assert {(check.asset_key, check.name, check.blocking) for check in read_check_specs()} == {
        (check.asset_key, check.name, check.blocking) for check in checks
    }
    incremental = {
        node["name"]
        for node in manifest["nodes"].values()
        if node["config"]["materialized"] == "incremental"
    }
    assert incremental == {
        spec.key.path[-1] for spec in read_model_specs() if spec.partitions_def is not None
    }
    ours = {spec.key: spec for spec in read_model_specs()}
    assert set(ours) == set(theirs)
    for key, spec in ours.items():
        assert {dep.asset_key for dep in spec.deps} == {
            dep.asset_key for dep in theirs[key].deps
        }, key
        assert (spec.description or "") in (theirs[key].description or ""), key
    assert {exposure["name"] for exposure in manifest["exposures"].values()} == {
        "lake_report",
        "fine_tuning",
        "content_upkeep",
    }
    (report,) = (each for each in manifest["exposures"].values() if each["name"] == "lake_report")
    assert {node.split(".")[-1] for node in report["depends_on"]["nodes"]} == set(REPORTED_MARTS)


def test_the_models_compile_for_trino(tmp_path: Path) -> None:
    """No server is asked: what is compiled parses as Trino's SQL."""
    import sqlglot

    manifest = _dbt(
        tmp_path, "compile", "--target", "trino", "--no-introspect", "--no-populate-cache"
    )

    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(models) == len(read_model_specs())
    for model in models:
        assert sqlglot.parse_one(model["compiled_code"], read="trino") is not None


def test_the_lineage_leads_from_the_gateway_to_the_marts() -> None:
    graph = definitions().resolve_asset_graph()

    ancestors = graph.get_ancestor_asset_keys(AssetKey(["marts", "knowledge_gaps"]))

    assert {AssetKey("gateway"), AssetKey("retrieve_record")} <= ancestors
    assert AssetKey(["lake", "retrieve_events"]) in ancestors
