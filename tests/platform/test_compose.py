"""The compose files: valid, pinned, closed to others, and of one mind with the code."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.settings import Settings
from sluice.devstack.secret_files import write_secret_files
from tests.support.compose_files import (
    DEVSTACK,
    HOSTS,
    ONE_HOST,
    addresses_of,
    files_of,
    mounted_files,
    named_volumes,
    published_ports,
    read_compose,
    read_services,
    secret_names,
    services_of,
)

LOGS = "podman-logs.yaml"
SETS = {"one host": ONE_HOST} | {host: files_of(host) for host in HOSTS}
SETS["gateway"] += (LOGS,)
DESIGN_PORTS = {
    "nats": {4222, 8222},
    "postgres": {5432},
    "dagster-web": {3000},
    "encoder": {3001, 3002},
    "gateway": {8080},
    "vector": {8686, 9598},
    "nessie": {19120},
    "trino": {8081},
}
DESIGN_HOSTS = {
    "storage": (
        {"prometheus", "grafana", "loki", "vector", "minio", "buckets"},
        {3003, 3100, 9000},
    ),
    "gateway": ({"gateway", "gateway-logs", "nats", "streams"}, {8080, 4222, 8222}),
    "compute": (
        {
            *("dagster-web", "dagster-daemon", "dagster-code", "postgres", "migrate", "encoder"),
            *("metrics", "nessie", "trino"),
        },
        {5432, 3001, 3002, 9599},
    ),
}
ONCE = {"migrate", "streams", "buckets", "tools", "dbt"}
NOT_SETTINGS = {"SLUICE_CONFIG"}
_PINNED = re.compile(r"[\w./-]+:v?(\d+\.\d+\.\d+|\d+|RELEASE\.[\dTZ-]+)([\w.-]*)")


def services() -> dict[str, Any]:
    return read_services()


def require_podman(reason: str) -> None:
    if shutil.which("podman") is None:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def test_the_files_are_valid_by_the_compose_specification() -> None:
    files = [*ONE_HOST, *(f"{host}.yaml" for host in HOSTS), LOGS]
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"),
            *(str(DEVSTACK / file) for file in files),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", SETS)
def test_podman_compose_understands_the_files_as_we_do(name: str, tmp_path: Path) -> None:
    require_podman("podman-compose asks podman for its version, and there is none")
    env_file = tmp_path / "env"
    variables = {} if name == "one host" else addresses_of(name)
    env_file.write_text("".join(f"{key}={value}\n" for key, value in variables.items()))
    files = [part for file in SETS[name] for part in ("-f", file)]
    shown = subprocess.run(
        [sys.executable, "-m", "podman_compose", "--env-file", str(env_file), *files, "config"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COMPOSE_PROFILES": "lakehouse,tools,gateway-logs,another-host"},
        # It takes the files that a file names from where it runs.
        cwd=DEVSTACK,
    )

    assert shown.returncode == 0, shown.stderr
    assert "WARNING" not in shown.stderr
    understood = yaml.safe_load(shown.stdout)["services"]
    ours = read_services(SETS[name], variables)
    assert set(understood) == set(ours)
    for service, definition in ours.items():
        for key in ("ports", "profiles", "extra_hosts", "depends_on", "image", "logging"):
            assert understood[service].get(key) == definition.get(key), f"{service}: {key}"


def test_the_gateways_log_is_where_its_agent_looks() -> None:
    variables = addresses_of("gateway") | {"GATEWAY_LOG_DIR": "/somewhere"}
    services = read_services(SETS["gateway"], variables)
    agent = yaml.safe_load((DEVSTACK / "vector" / "gateway-logs.yaml").read_text())

    assert services["gateway"]["logging"]["options"]["path"] == "/somewhere/gateway.log"
    assert "/somewhere:/var/log/sluice:ro" in services["gateway-logs"]["volumes"]
    (looked_for,) = agent["sources"]["gateway_log"]["include"]
    pattern = looked_for.removeprefix("${GATEWAY_LOG_FILES:-").removesuffix("}")
    assert Path("/var/log/sluice/gateway.log").match(pattern)
    assert services["gateway-logs"]["healthcheck"]["test"][-1].endswith(
        agent["api"]["address"].removeprefix("${VECTOR_API_ADDRESS:-").removesuffix("}") + "/health"
    )


def test_podman_writes_the_log_there(tmp_path: Path) -> None:
    require_podman("there is no podman")
    (tmp_path / "root").mkdir()
    logging = read_services(
        SETS["gateway"], addresses_of("gateway") | {"GATEWAY_LOG_DIR": str(tmp_path)}
    )["gateway"]["logging"]
    options = [f"--log-opt={name}={value}" for name, value in logging["options"].items()]
    # Podman takes no longer path than 50 characters for this one.
    short = tempfile.mkdtemp(prefix="sluice-", dir="/tmp")
    podman = (
        *("podman", "--root", str(tmp_path / "storage"), "--runroot", short),
        *("--storage-driver", "vfs"),
    )

    made = subprocess.run(
        [
            *(*podman, "create", "--network=none", f"--log-driver={logging['driver']}", *options),
            *("--rootfs", str(tmp_path / "root"), "true"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert made.returncode == 0, made.stderr
    container = made.stdout.strip()
    try:
        shown = subprocess.check_output(
            [*podman, "inspect", "--format", "{{json .HostConfig.LogConfig}}", container],
            text=True,
            timeout=60,
        )
    finally:
        subprocess.run([*podman, "rm", container], check=True, capture_output=True, timeout=60)
        shutil.rmtree(short)
    understood = json.loads(shown)
    assert understood["Type"] == "k8s-file"
    assert understood["Path"] == f"{tmp_path}/gateway.log"
    assert understood["Size"] == "20MB"


def test_every_server_is_there() -> None:
    profiles = {name: service.get("profiles", []) for name, service in services().items()}

    always = {name for name, each in profiles.items() if not each}
    assert always == {
        *("nats", "postgres", "migrate", "streams", "encoder", "gateway", "minio", "buckets"),
        *("dagster-web", "dagster-daemon", "dagster-code", "metrics"),
        *("vector", "prometheus", "loki", "grafana"),
    }
    assert {name for name, each in profiles.items() if each == ["lakehouse"]} == {"nessie", "trino"}
    assert {name for name, each in profiles.items() if each == ["tools"]} == {"tools", "dbt"}
    assert profiles["gateway-logs"] == ["gateway-logs"]
    assert len(profiles) == len(always) + 5


def test_the_ports_are_those_of_the_design_and_on_loopback_alone() -> None:
    published = {name: published_ports(service) for name, service in services().items()}

    for name, wanted in DESIGN_PORTS.items():
        assert {outside for _, outside, _ in published[name]} == wanted, name
        # The same inside, so that a name and a port mean one thing on every host.
        assert {inside for _, _, inside in published[name]} == wanted, name
    everything = [port for ports in published.values() for port in ports]
    assert {address for address, _, _ in everything} == {"127.0.0.1"}
    assert len({outside for _, outside, _ in everything}) == len(everything)


def test_a_host_has_its_part_of_the_design_and_listens_where_others_need_it() -> None:
    for host, (wanted, listening) in DESIGN_HOSTS.items():
        services, address = services_of(host), addresses_of(host)["LISTEN_ADDRESS"]
        servers = {name for name, each in services.items() if each.get("profiles") != ["tools"]}
        assert servers == wanted, host
        ports = {
            outside
            for service in services.values()
            for where, outside, _ in published_ports(service)
            if where != "127.0.0.1"
        }
        assert ports == listening, host
        assert address == addresses_of(host)[f"{host.upper()}_ADDRESS"]


def test_the_three_hosts_run_everything_once() -> None:
    servers = [
        name
        for host in HOSTS
        for name, each in services_of(host).items()
        if each.get("profiles") != ["tools"]
    ]

    assert sorted(servers) == sorted(
        name for name, each in services().items() if each.get("profiles") != ["tools"]
    )


def test_a_server_finds_what_it_names_on_its_host_or_on_another() -> None:
    every = set(services())
    for host in HOSTS:
        here = services_of(host)
        for name, service in here.items():
            if name == "tools" and host == "gateway":
                continue  # there for the keys alone
            text = str(service.get("environment", {})) + str(service.get("command", ""))
            named = set(re.findall(r"(?://|@|\b)([a-z][a-z-]+):\d{4,5}\b", text)) & every
            elsewhere = {each.split(":")[0] for each in service.get("extra_hosts", ())}
            assert named <= set(here) | elsewhere, f"{host}: {name}"


def test_what_a_host_waits_for_is_on_that_host() -> None:
    for host in HOSTS:
        here = services_of(host)
        for name, service in here.items():
            assert set(service.get("depends_on", ())) <= set(here), f"{host}: {name}"


def test_every_image_is_pinned() -> None:
    for name, service in services().items():
        assert _PINNED.fullmatch(service["image"]), f"{name}: {service['image']}"


def test_what_the_tests_run_is_what_the_images_have() -> None:
    server = Path(sys.executable).with_name("nats-server")
    version = subprocess.check_output([server, "--version"], text=True).strip().split("v")[-1]
    images = {name: service["image"] for name, service in services().items()}

    assert images["nats"].endswith(f":{version}-alpine")
    artifacts = (Path(__file__).parents[1] / "support" / "scale_artifacts.py").read_text()
    for name in ("nessie", "trino"):
        assert f":{images[name].rpartition(':')[2]}:" in artifacts


def test_every_server_is_bounded_and_comes_back() -> None:
    for name, service in services().items():
        assert service["mem_limit"], name
        assert service["cpus"], name
        assert service["logging"]["options"]["max-size"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        assert ("healthcheck" in service) == (name not in ONCE), name


def test_our_containers_cannot_change_their_image() -> None:
    for name, service in services().items():
        if service["image"].startswith("localhost/"):
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert "user" not in service, f"{name}: the image says whose it is"


def test_the_order_of_start_ends_and_waits_for_what_can_be_waited_for() -> None:
    waits = {name: service.get("depends_on", {}) for name, service in services().items()}
    started: set[str] = set()
    while len(started) < len(waits):
        able = {name for name, others in waits.items() if set(others) <= started} - started
        assert able, f"in a circle: {sorted(set(waits) - started)}"
        started |= able
    for name, others in waits.items():
        for other, how in others.items():
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert how == {"condition": wanted}, f"{name} waits for {other}"


def test_every_mounted_file_is_in_the_repository() -> None:
    for name, service in services().items():
        for file in mounted_files(service):
            assert file.exists(), f"{name}: {file}"


def test_volumes_secrets_and_networks_are_declared_and_used() -> None:
    compose, every = read_compose("compose.yaml", {}), services().values()

    assert set(compose["volumes"]) == {each for one in every for each in named_volumes(one)}
    assert set(compose["secrets"]) == {each for one in every for each in secret_names(one)}
    assert set(compose["networks"]) == {each for one in every for each in one["networks"]}


def test_the_command_makes_the_secrets_that_compose_names(tmp_path: Path) -> None:
    write_secret_files(tmp_path / "secrets")

    made = {file.name for file in (tmp_path / "secrets").iterdir()}
    named = {Path(each["file"]) for each in read_compose("compose.yaml", {})["secrets"].values()}
    assert {file.parent for file in named} == {Path("secrets")}
    assert {file.name for file in named} == made


def test_a_container_that_reads_a_secret_has_it() -> None:
    for name, service in services().items():
        text = str(service.get("environment", {})) + str(service.get("command", ""))
        targets = {
            f"/run/secrets/{each}" if isinstance(each, str) else each["target"]
            for each in service.get("secrets", ())
        }
        for file in re.findall(r"/run/secrets/[\w.]+", text):
            assert file in targets, f"{name}: {file}"


def test_every_variable_of_ours_is_a_setting() -> None:
    known = {f"SLUICE_{name.upper()}" for name in Settings.model_fields} | {
        f"SLUICE_{section.upper()}_{name.upper()}"
        for section, field in Settings.model_fields.items()
        for name in getattr(field.annotation, "model_fields", {})
    }
    profiles = (DEVSTACK.parents[1] / "dbt" / "profiles.yml").read_text()
    for name, service in services().items():
        for variable in service.get("environment", {}):
            if not variable.startswith("SLUICE_") or variable in NOT_SETTINGS:
                continue
            assert variable in known or f"'{variable}'" in profiles, f"{name}: {variable}"


@pytest.mark.parametrize(
    "name", ["gateway", "encoder", "dagster-code", "streams", "migrate", "tools", "dbt"]
)
def test_the_settings_of_a_container_are_accepted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contracts.settings import load_settings

    write_secret_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for variable in [each for each in os.environ if each.startswith("SLUICE_")]:
        monkeypatch.delenv(variable)
    for variable, value in services()[name]["environment"].items():
        here = str(value).replace("/run/secrets", str(tmp_path))
        here = here.replace("/etc/sluice", str(DEVSTACK / "gateway"))
        if not variable.startswith("SLUICE_DBT_"):
            monkeypatch.setenv(variable, here)

    settings = load_settings()

    if name not in {"encoder", "streams"}:
        password = (tmp_path / "postgres_password").read_text()
        # What follows has a host that vanished noticed.
        server, _, _ = settings.database_url.partition("?")
        assert server == f"postgresql://sluice:{password}@postgres:5432/sluice"
        assert "@postgres:5432/dagster" in settings.dagster_database_url
    if name == "gateway":
        assert [each.name for each in settings.backends] == ["vllm", "llamacpp", "lmstudio"]
