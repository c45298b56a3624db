"""The code location: names, lineage, and what it must not import."""

import json
import subprocess
import sys
from pathlib import Path

import yaml
from dagster import AssetKey, AssetsDefinition, DefaultSensorStatus

from assets.lake.dbt_project import read_model_specs
from contracts.lake import LAKE_TABLES
from contracts.subjects import PipelineSubject
from tests.support.dagster_runs import definitions

ROOT = Path(__file__).parents[2]

SENSORS = {
    "nats_dagster_chat_persist": {"knowledge_chat_persist", "knowledge_chat_pair_materialize"},
    "nats_dagster_embedding": {"knowledge_embedding"},
    "nats_dagster_retrieve": {"knowledge_retrieve"},
    "nats_dagster_compose": {"knowledge_compose"},
    "nats_dagster_flow_lineage": {"knowledge_flow_lineage"},
    "nats_dagster_tool_call": {"knowledge_tool_call"},
}
OTHER_SENSORS: dict[str, set[str]] = {
    "consumer_lag_watch": set(),
    "dead_letters_watch": {"handle_dead_letters"},
}
ASSETS = {
    "dead_letters",
    "erased_subjects",
    "purged_events",
    "purged_runs",
    "chat_history",
    "chat_pair_record",
    "chat_pair_dataset",
    "embedding_record",
    "retrieve_record",
    "compose_record",
    "flow_lineage_record",
    "tool_call_record",
    "document_chunks",
    "chunk_reembeddings",
    "promoted_embeddings",
    "retrieval_evaluation",
    "lake_maintenance",
    "lake_report",
    *(f"lake/{table.name}" for table in LAKE_TABLES),
    *(spec.key.to_user_string() for spec in read_model_specs()),
}


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_platform_is_still_the_standard_librarys() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    file = _python("import platform; print(platform.__file__); platform.system()")
    assert ROOT not in Path(file).parents


def test_the_sensors_launch_their_jobs_and_run_by_default() -> None:
    sensors = {each.name: each for each in definitions().sensors or ()}

    expected = SENSORS | OTHER_SENSORS
    assert set(sensors) == set(expected)
    for name, job_names in expected.items():
        sensor = definitions().resolve_sensor_def(name)
        assert {target.job_name for target in sensor.targets} == job_names
        assert sensor.default_status == DefaultSensorStatus.RUNNING


def test_every_asset_says_what_it_is_and_whose() -> None:
    specs = {
        spec.key.to_user_string(): spec
        for each in definitions().assets or ()
        if isinstance(each, AssetsDefinition)
        for spec in each.specs
    }

    assert set(specs) == ASSETS
    for spec in specs.values():
        assert spec.description
        assert spec.group_name != "default"
        assert spec.owners
        assert spec.kinds


def test_the_lineage_leads_from_the_gateway_to_the_dataset() -> None:
    graph = definitions().resolve_asset_graph()

    ancestors = graph.get_ancestor_asset_keys(AssetKey("chat_pair_dataset"))

    assert {
        AssetKey("chat_pair_record"),
        AssetKey(PipelineSubject.CHAT_PERSIST.replace(".", "_")),
        AssetKey("gateway"),
        AssetKey("document_chunks"),
    } <= ancestors


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    """Every run is a process that imports them."""
    code = (
        "import json, runpy, sys; runpy.run_path('platform/definitions.py');"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )

    loaded = set(json.loads(_python(code)))

    heavy = {"pyarrow", "pandas", "numpy", "pyiceberg", "duckdb", "trino", "dbt"}
    heavy |= {"adbc_driver_postgresql", "onnxruntime", "pypdf"}
    assert loaded & heavy == set()
    assert loaded & {"gateway", "starlette", "uvicorn", "bs4", "markdown_it"} == set()


def test_the_workspace_names_the_code_location_by_file() -> None:
    (location,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]

    assert (ROOT / location["python_file"]["relative_path"]).is_file()


def test_the_instance_evaluates_all_sensors_at_once() -> None:
    instance = yaml.safe_load((ROOT / "dagster.yaml").read_text())

    assert instance["sensors"]["use_threads"]
    assert instance["sensors"]["num_workers"] >= len(SENSORS | OTHER_SENSORS)
