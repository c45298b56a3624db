"""The devstack's compose files, as a compose implementation reads them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

DEVSTACK = Path(__file__).parents[2] / "platform" / "devstack"
ONE_HOST = ("compose.yaml", "compose.override.yaml")
HOSTS = ("storage", "gateway", "compute")
ELSEWHERE = "another-host"
"""The profile of what a host does not run."""

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def files_of(host: str) -> tuple[str, str]:
    """Return the files that one of `HOSTS` reads."""
    return "compose.yaml", f"{host}.yaml"


def addresses_of(host: str) -> dict[str, str]:
    """Return the variables of the host's example of an env file."""
    lines = (DEVSTACK / f"{host}.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def read_services(
    files: tuple[str, ...] = ONE_HOST, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return service → definition in `files`, variables put in.

    Later files go over earlier ones: mappings are merged and lists joined.
    Raises KeyError: a variable without a default is not in `environment`.
    """
    merged: Any = {}
    for name in files:
        merged = _merge(merged, read_compose(name, environment or {})["services"])
    return dict(merged)


def services_of(host: str) -> dict[str, Any]:
    """Return service → definition of what one of `HOSTS` runs."""
    services = read_services(files_of(host), addresses_of(host))
    return {
        name: each for name, each in services.items() if ELSEWHERE not in each.get("profiles", ())
    }


def read_compose(name: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the file `name`, variables put in."""

    def value(match: re.Match[str]) -> str:
        variable, default = match.groups()
        if variable not in environment and default is None:
            raise KeyError(f"{name} needs {variable}")
        return environment.get(variable, default)

    content: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(value, (DEVSTACK / name).read_text()))
    return content


def mounted_files(service: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files and folders of the repository that `service` sees."""
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        if source.startswith("."):
            yield DEVSTACK / source


def named_volumes(service: Mapping[str, Any]) -> set[str]:
    """Return the names of the volumes that `service` has."""
    return {
        volume.split(":")[0]
        for volume in service.get("volumes", ())
        if not volume.startswith((".", "/"))
    }


def secret_names(service: Mapping[str, Any]) -> set[str]:
    """Return the names of the secrets that `service` sees."""
    return {
        each if isinstance(each, str) else each["source"] for each in service.get("secrets", ())
    }


def published_ports(service: Mapping[str, Any]) -> set[tuple[str, int, int]]:
    """Return (address, port on the host, port inside) of each."""
    parts = [port.rsplit(":", 2) for port in service.get("ports", ())]
    return {(address, int(outside), int(inside)) for address, outside, inside in parts}


def _merge(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        shared = {key: _merge(base[key], over[key]) for key in base.keys() & over.keys()}
        return {**base, **over, **shared}
    if isinstance(base, list) and isinstance(over, list):
        return [*base, *over]
    return over
