"""Builds the images by Buildah and runs them by Podman: `make test-images`, about ten minutes.

Not part of `make test`: test_image_packages.py holds there what an image has in it. No registry is
asked: the base is made from Debian's packages under the name that the Containerfiles expect, and
kept in `~/.cache/sluice-tests`.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.compose_files import DEVSTACK, read_services
from tests.support.ports import free_port

ROOT = DEVSTACK.parents[1]
CACHE = Path.home() / ".cache" / "sluice-tests"
IMAGES = ("gateway", "encoder", "dagster")
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
SECONDS = 900
READY_SECONDS = 60

# Some machines may not raise a limit, and cgroups of both versions at once are runc's alone.
RUN = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
RUNTIME = ("--runtime", "runc") if shutil.which("runc") else ()

pytestmark = [
    pytest.mark.timeout(SECONDS),
    pytest.mark.skipif(
        any(shutil.which(each) is None for each in ("buildah", "podman", "mmdebstrap")),
        reason="Buildah, Podman and mmdebstrap are needed",
    ),
]


def podman(*arguments: str) -> str:
    """Return what Podman prints."""
    return run("podman", *RUNTIME, *arguments)


def run(*command: str) -> str:
    """Return what a command prints on standard output."""
    finished = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT)
    assert finished.returncode == 0, (
        f"{command}\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}"
    )
    return finished.stdout


@pytest.fixture(scope="module", autouse=True)
def store() -> Iterator[None]:
    """A store of images of the tests' own, with the base in it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    containers = CACHE / "containers"
    configuration = CACHE / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{containers}"\n'
        f'runroot = "{CACHE / "containers-run"}"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(configuration))
        base = base_name()
        if subprocess.run(["podman", "image", "exists", base], timeout=60).returncode != 0:
            podman("import", "--quiet", str(base_archive()), base)
        yield


def base_name() -> str:
    """Return the image that the Containerfiles begin with."""
    names = {
        line.removeprefix("ARG PYTHON_IMAGE=")
        for image in IMAGES
        for line in (DEVSTACK / "images" / f"Containerfile.{image}").read_text().splitlines()
        if line.startswith("ARG PYTHON_IMAGE=")
    }
    (name,) = names
    return name


def base_archive() -> Path:
    """Return a root file system with Python, made from Debian's packages."""
    file = CACHE / "python-bookworm.tar"
    if not file.exists():
        new = file.with_suffix(".new.tar")
        run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(new))
        new.rename(file)
    return file


@pytest.fixture(scope="module", params=IMAGES)
def image(request: pytest.FixtureRequest) -> str:
    """The name of an image that was just built."""
    name = f"localhost/sluice-{request.param}:0.1.0"
    build(request.param, name)
    return name


def build(image: str, name: str) -> None:
    run(
        *("buildah", "bud", "--isolation", "chroot", "--network", "host", "--pull-never"),
        # pip trusts whom this machine trusts.
        *("--layers", "-v", "/etc/ssl/certs:/etc/ssl/certs:ro"),
        *("--ignorefile", str(ROOT / ".containerignore")),
        *("-f", str(DEVSTACK / "images" / f"Containerfile.{image}"), "-t", name, "."),
    )


def inside(image: str, *command: str) -> str:
    """Return what a command prints in a container that is closed as compose closes it."""
    return podman(
        *("run", "--rm", *RUN, "--network", "none", "--read-only", "--tmpfs", "/tmp"),
        *("--cap-drop", "all", "--security-opt", "no-new-privileges", image, *command),
    )


def test_an_image_is_small_of_rights_and_without_tools(image: str) -> None:
    (described,) = json.loads(podman("image", "inspect", image))

    assert described["Config"]["User"] == "10001:10001"
    assert inside(image, "id", "-u").strip() == "10001"
    found = inside(image, "sh", "-c", "command -v gcc cc make ld || true")
    assert found == ""
    assert inside(image, "sh", "-c", "ls /opt/sluice/bin | grep -c pip || true").strip() == "0"
    writable = inside(image, "sh", "-c", "touch /app/x 2>/dev/null && echo yes || echo no")
    assert writable.strip() == "no"


def test_the_gateways_image_has_no_dagster_and_answers(database_url: str) -> None:
    name = "localhost/sluice-gateway:0.1.0"
    build("gateway", name)
    listed = inside(
        name,
        "python",
        "-c",
        "from importlib.metadata import distributions;"
        "print(*{each.metadata['Name'].lower() for each in distributions()})",
    ).split()

    assert {"starlette", "uvicorn", "nats-py"} <= set(listed)
    assert not [each for each in listed if "dagster" in each or each in {"alembic", "pyarrow"}]
    with running_gateway(name, database_url) as url:
        models = requests.get(f"{url}/v1/models", timeout=10)
        assert models.status_code == 200
        (model,) = [each["id"] for each in models.json()["data"]]
        answer = requests.post(
            f"{url}/v1/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": "Hello?"}]},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["role"] == "assistant"


@contextmanager
def running_gateway(image: str, database_url: str) -> Iterator[str]:
    """Run the image on this machine's loopback, with a volume for its spool; yield its URL."""
    port, name = free_port(), f"sluice-test-{os.getpid()}"
    podman(
        *("run", "--detach", "--name", name, *RUN, "--network", "host", "--read-only"),
        *("--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges"),
        *("--memory", read_services()["gateway"]["mem_limit"]),
        *("--volume", f"{name}:/var/lib/sluice", "--env", f"SLUICE_GATEWAY_PORT={port}"),
        *("--env", f"SLUICE_POSTGRES_URL={database_url}", image),
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                assert requests.get(f"{url}/readyz", timeout=5).status_code == 200
                break
            except (requests.ConnectionError, AssertionError):
                if time.monotonic() > deadline:
                    pytest.fail(podman("logs", name))
                time.sleep(0.5)
        yield url
    finally:
        podman("rm", "--force", "--volumes", "--time", "10", name)
        podman("volume", "rm", "--force", name)


def test_dagsters_image_loads_the_definitions_and_has_the_commands() -> None:
    name = "localhost/sluice-dagster:0.1.0"
    build("dagster", name)

    program = (
        "import runpy; print(len(runpy.run_path('/app/platform/definitions.py')['defs'].jobs))"
    )
    assert int(inside(name, "python", "-c", program)) > 5
    assert "devstack" in inside(name, "sluice", "--help")
    assert "installed" in inside(name, "dbt", "--version")
    assert "grpc" in inside(name, "dagster", "api", "--help")
