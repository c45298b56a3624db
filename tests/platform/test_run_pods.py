"""The pods in which runs run on Kubernetes, as Dagster's own launcher makes them of our values."""

import re
from pathlib import Path
from typing import Any

import kubernetes
import kubernetes_validate
import pytest
import yaml
from dagster import DagsterRun
from dagster._config import Shape, process_config
from dagster._core.instance.config import dagster_instance_config_schema
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job

from tests.support.compose_files import read_services

KUBERNETES = Path(__file__).parents[2] / "platform" / "kubernetes"
VERSION = "1.32"
VALUES: dict[str, Any] = yaml.safe_load((KUBERNETES / "values" / "dagster.yaml").read_text())
CODE = VALUES["dagster-user-deployments"]["deployments"][0]


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def launcher_configuration() -> dict[str, Any]:
    """Return what the chart (templates/helpers/instance/_run-launcher.tpl) makes of our values.

    Its keys in snake case, names in place of references, and what it adds of its own.
    """
    told = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    as_they_are = {snake(key): value for key, value in told.items() if value}
    return as_they_are | {
        "job_namespace": "sluice",
        "service_account_name": "dagster",
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": VALUES["global"]["postgresqlSecretName"],
        "env_config_maps": [each["name"] for each in told["envConfigMaps"]],
        "run_k8s_config": {snake(key): value for key, value in told["runK8sConfig"].items()},
    }


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> K8sRunLauncher:
    """The launcher, in no cluster."""
    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda **_: None)
    accepted = process_config(Shape(K8sRunLauncher.config_type()), launcher_configuration())
    assert accepted.success, accepted.errors
    return K8sRunLauncher.from_config_value(None, accepted.value)


@pytest.fixture
def job(launcher: K8sRunLauncher) -> dict[str, Any]:
    """The job of one run, as the Kubernetes API gets it."""
    # The code location adds nothing: the values say so.
    assert CODE["includeConfigInLaunchedRuns"] == {"enabled": False}
    context = K8sContainerContext.create_for_run(
        DagsterRun(job_name="a_job"), launcher, include_run_tags=True
    )
    made = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(
            job_image=f"{CODE['image']['repository']}:{CODE['image']['tag']}",
            run_launcher=launcher,
        ),
        args=["dagster", "api", "execute_run"],
        job_name="dagster-run-1",
        user_defined_k8s_config=context.run_k8s_config,
    )
    content: dict[str, Any] = kubernetes.client.ApiClient().sanitize_for_serialization(made)
    return content


def test_a_runs_job_is_valid(job: dict[str, Any]) -> None:
    kubernetes_validate.validate(job, VERSION, strict=True)
    assert job["spec"]["ttlSecondsAfterFinished"] == 600


def test_a_run_has_the_core_and_the_memory_that_the_documentation_says(
    job: dict[str, Any],
) -> None:
    (container,) = job["spec"]["template"]["spec"]["containers"]

    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"memory": "2Gi"},
    }
    assert (
        "a pod with a core and 1 GiB"
        in (KUBERNETES.parents[1] / "docs" / "kubernetes.md").read_text()
    )


def test_a_run_has_the_image_and_the_user_of_the_others(job: dict[str, Any]) -> None:
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]

    assert container["image"] == read_services()["dagster-code"]["image"]
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["fsGroup"] == 10001


def test_a_run_sees_each_setting_and_secret_once(job: dict[str, Any]) -> None:
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    maps = {
        each["metadata"]["name"]
        for each in yaml.safe_load_all((KUBERNETES / "base" / "settings.yaml").read_text())
    }
    sources = [each["configMapRef"]["name"] for each in container["envFrom"]]
    volumes = [each["name"] for each in spec["volumes"]]
    paths = [each["mountPath"] for each in container["volumeMounts"]]

    assert sorted(sources) == sorted(maps)
    assert len(volumes) == len(set(volumes))
    assert sorted(paths) == ["/run/secrets/sluice", "/var/lib/sluice"]
    assert {each["name"] for each in container["volumeMounts"]} == set(volumes)


def test_a_run_is_one_of_those_that_the_network_policies_name(job: dict[str, Any]) -> None:
    labels = job["spec"]["template"]["metadata"]["labels"]

    assert labels["app.kubernetes.io/name"] == "dagster"
    assert labels["app.kubernetes.io/part-of"] == "sluice"


def test_the_instance_takes_what_the_chart_passes_on() -> None:
    told = VALUES["additionalInstanceConfig"] | {
        "retention": {
            kind: {"purge_after_days": VALUES["retention"][kind]["purgeAfterDays"]}
            for kind in ("sensor", "schedule")
        }
    }

    accepted = process_config(Shape(dict(dagster_instance_config_schema())), told)

    assert accepted.success, accepted.errors
    instance = yaml.safe_load((KUBERNETES.parents[1] / "dagster.yaml").read_text())
    assert told["retention"] == instance["retention"]
    assert told["nux"] == instance["nux"]


def test_the_image_has_the_launcher_in_it() -> None:
    lock = (KUBERNETES.parents[1] / "requirements" / "dagster.lock").read_text()

    assert re.search(r"^dagster-k8s==", lock, re.MULTILINE)
    assert re.search(r"^dagster-postgres==", lock, re.MULTILINE)
