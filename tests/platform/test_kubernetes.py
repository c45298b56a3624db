"""The Kubernetes manifests, and what charts of others are told: valid, and as the code is."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from contracts.metrics.encoder import QUEUE_TOKENS
from contracts.metrics.gateway import BACKEND_IN_FLIGHT
from contracts.settings import Settings
from sluice.devstack.broker_chart import chart_values
from sluice.devstack.secret_files import write_secret_files
from tests.support.compose_files import read_services

KUBERNETES = Path(__file__).parents[2] / "platform" / "kubernetes"
VERSION = "1.32"
OVERLAYS = ("small", "large")
NAME = "app.kubernetes.io/name"


def base() -> list[dict[str, Any]]:
    kustomization = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())
    files = [KUBERNETES / "base" / name for name in kustomization["resources"]]
    return [each for file in files for each in yaml.safe_load_all(file.read_text())]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in base() if each["kind"] == kind}


def values(chart: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((KUBERNETES / "values" / f"{chart}.yaml").read_text())
    return content


def pod_templates() -> Iterator[tuple[str, dict[str, Any]]]:
    for each in base():
        if each["kind"] in {"Deployment", "Job"}:
            yield each["metadata"]["name"], each["spec"]["template"]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container.get("env", ())}


def test_every_file_of_the_base_is_in_it() -> None:
    listed = set(
        yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())["resources"]
    )

    assert listed | {"kustomization.yaml"} == {
        file.name for file in (KUBERNETES / "base").glob("*.yaml")
    }


@pytest.mark.parametrize(
    "resource", base(), ids=lambda each: f"{each['kind']} {each['metadata']['name']}"
)
def test_a_resource_is_valid(resource: dict[str, Any]) -> None:
    kubernetes_validate.validate(resource, VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_builds_valid_resources(overlay: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl here")
    built = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert built.returncode == 0, built.stderr
    resources = list(yaml.safe_load_all(built.stdout))
    for resource in resources:
        kubernetes_validate.validate(resource, VERSION, strict=True)
        if resource["kind"] != "Namespace":
            assert resource["metadata"]["namespace"] == "sluice"
    assert len(resources) == len(base()) + 1


def test_pods_are_those_that_a_restricted_namespace_takes() -> None:
    for name, template in pod_templates():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["readOnlyRootFilesystem"], name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name


def test_probes_ask_what_the_servers_answer() -> None:
    (gateway,) = of_kind("Deployment")["gateway"]["spec"]["template"]["spec"]["containers"]

    assert gateway["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert gateway["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_a_gateway_has_the_time_to_stop_that_its_settings_ask_for() -> None:
    pod = of_kind("Deployment")["gateway"]["spec"]["template"]["spec"]
    told = environment(pod["containers"][0])

    needed = float(told["SLUICE_GATEWAY_DRAIN_SECONDS"])
    needed += float(told["SLUICE_GATEWAY_SHUTDOWN_GRACE_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > needed


def test_the_autoscalers_ask_for_metrics_that_there_are() -> None:
    asked = {
        metric["pods"]["metric"]["name"]
        for scaler in of_kind("HorizontalPodAutoscaler").values()
        for metric in scaler["spec"]["metrics"]
        if metric["type"] == "Pods"
    }
    rules = values("prometheus-adapter")["rules"]["custom"]

    assert asked == {BACKEND_IN_FLIGHT.name, QUEUE_TOKENS.name}
    assert {rule["name"]["as"] for rule in rules} == asked
    for rule in rules:
        assert f'"^{rule["name"]["as"]}$"' in rule["seriesQuery"]
    deployments = of_kind("Deployment")
    for scaler in of_kind("HorizontalPodAutoscaler").values():
        assert "replicas" not in deployments[scaler["spec"]["scaleTargetRef"]["name"]]["spec"]


def test_the_gateway_only_publishes_for_the_network_too() -> None:
    policies = of_kind("NetworkPolicy")
    reached = {
        (to["podSelector"]["matchLabels"].get(NAME, "model servers"), port)
        for rule in policies["gateway"]["spec"]["egress"]
        for to in rule["to"]
        for port in [each["port"] for each in rule.get("ports", [])] or [None]
    }

    assert reached == {
        ("nats", 4222),
        ("postgresql", 5432),
        ("encoder", 3002),
        ("model servers", None),
    }
    assert policies["nothing-by-default"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    among_each_other, exporter = policies["dagster"]["spec"]["ingress"]
    assert "gateway" not in str(among_each_other)
    assert exporter["from"] == [{"podSelector": {"matchLabels": {NAME: "metrics"}}}]


PODS = [
    *(
        {NAME: name}
        for name in (
            *("gateway", "encoder", "nats", "postgresql", "metrics", "migrate", "streams"),
            *("dagster", "dagster-user-deployments"),
        )
    ),
    {"app.kubernetes.io/component": "model-server"},
]
"""What runs in the namespace: labels of a pod."""


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    equal = selector.get("matchLabels", {}).items() <= labels.items()
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return equal and all(labels.get(each["key"]) in each["values"] for each in expressions)


def allows(rules: list[dict[str, Any]], side: str, labels: dict[str, str], port: int) -> bool:
    """Whether one of a policy's rules names a pod of this namespace, and the port."""
    return any(
        (
            side not in rule
            or any(
                selects(peer["podSelector"], labels) for peer in rule[side] if "podSelector" in peer
            )
        )
        and port in [each["port"] for each in rule.get("ports", [{"port": port}])]
        for rule in rules
    )


def test_whom_a_pod_may_reach_lets_it_in() -> None:
    policies = [each["spec"] for each in of_kind("NetworkPolicy").values()]
    reached = 0
    for source in PODS:
        for target in PODS:
            leaves = [
                rule
                for policy in policies
                if selects(policy["podSelector"], source)
                for rule in policy.get("egress", [])
                if "to" in rule
            ]
            enters = [
                rule
                for policy in policies
                if selects(policy["podSelector"], target)
                for rule in policy.get("ingress", [])
            ]
            ports = {each["port"] for rule in leaves for each in rule.get("ports", [])} | {8000}
            for port in ports:
                if allows(leaves, "to", target, port):
                    assert allows(enters, "from", source, port), (source, target, port)
                    reached += 1
    assert reached > 15


def test_every_variable_of_ours_is_a_setting_and_every_secret_is_made(tmp_path: Path) -> None:
    known = {f"SLUICE_{name.upper()}" for name in Settings.model_fields} | {
        f"SLUICE_{section.upper()}_{name.upper()}"
        for section, field in Settings.model_fields.items()
        for name in getattr(field.annotation, "model_fields", {})
    }
    write_secret_files(tmp_path)
    text = "".join(
        file.read_text() for file in KUBERNETES.rglob("*.yaml") if file.name != "nats.yaml"
    )

    assert set(re.findall(r"\bSLUICE_[A-Z0-9_]+", text)) <= known | {"SLUICE_CONFIG"}
    for name in re.findall(r"/run/secrets/sluice/(\w+)", text):
        assert (tmp_path / name).exists(), name
    for _, template in pod_templates():
        volumes = {each["name"]: each for each in template["spec"]["volumes"]}
        files = {
            item["path"] for item in volumes.get("passwords", {}).get("secret", {}).get("items", ())
        }
        (container,) = template["spec"]["containers"]
        told = str(environment(container))
        assert set(re.findall(r"/run/secrets/sluice/(\w+)", told)) <= files


def test_the_images_are_those_of_the_compose_file() -> None:
    ours = {
        service["image"]
        for service in read_services().values()
        if service["image"].startswith("localhost/")
    }
    used = {
        each["image"] for _, template in pod_templates() for each in template["spec"]["containers"]
    }
    dagster = values("dagster")["dagsterWebserver"]["image"]

    assert used == ours
    assert f"{dagster['repository']}:{dagster['tag']}" in ours


def test_the_exporter_asks_the_webserver_where_the_chart_puts_it() -> None:
    (exporter,) = of_kind("Deployment")["metrics"]["spec"]["template"]["spec"]["containers"]
    url = urlsplit(environment(exporter)["SLUICE_DAGSTER_URL"])

    assert url.port == values("dagster")["dagsterWebserver"]["service"]["port"]
    # https://docs.dagster.io/deployment/oss/deployment-options/kubernetes/deploying-to-kubernetes
    assert url.hostname == "dagster-dagster-webserver"


def test_dagsters_chart_is_told_what_our_instance_has() -> None:
    chart = values("dagster")
    root = KUBERNETES.parents[1]
    instance = yaml.safe_load((root / "dagster.yaml").read_text())
    version = next(
        each.removeprefix("dagster==")
        for each in tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
        if each.startswith("dagster==")
    )

    assert f"--version {version}" in (KUBERNETES / "values" / "dagster.yaml").read_text()
    assert chart["runLauncher"]["type"] == "K8sRunLauncher"
    daemon = chart["dagsterDaemon"]
    assert daemon["sensors"]["useThreads"] == instance["sensors"]["use_threads"]
    assert daemon["sensors"]["numWorkers"] >= instance["sensors"]["num_workers"]
    assert daemon["runMonitoring"]["enabled"] == instance["run_monitoring"]["enabled"]
    (code,) = chart["dagster-user-deployments"]["deployments"]
    arguments = code["dagsterApiGrpcArgs"]
    assert arguments[arguments.index("--python-file") + 1] == "/app/platform/definitions.py"


def test_the_brokers_chart_is_told_what_the_contracts_say() -> None:
    written = (KUBERNETES / "values" / "nats.yaml").read_text()

    assert written == chart_values(), (
        "run `sluice devstack nats-values >platform/kubernetes/values/nats.yaml`"
    )
    assert read_services()["nats"]["image"].endswith(values("nats")["container"]["image"]["tag"])
