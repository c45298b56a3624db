"""Debian's Prometheus with our configuration, and its `promtool`."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from sluice.servers.probes import http_probe
from sluice.servers.spec import ProcessSpec
from tests.support.checkout import PROJECT_ROOT
from tests.support.ports import free_port
from tests.support.processes import running

CONFIGURATION = PROJECT_ROOT / "platform" / "devstack" / "prometheus"
KEY_FILE = "/run/secrets/gateway_metrics_key"


def need(program: str) -> str:
    """Return the program's path; without it the test is skipped, but fails in CI."""
    path = shutil.which(program)
    if path is None:
        reason = f"{program} is not installed (Debian's package `prometheus`)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [need("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def configuration_in(
    folder: Path, targets: Mapping[str, str] | None = None, *, scrape_seconds: float = 15
) -> Path:
    """Copy our configuration into `folder`, with the targets (job → host:port) of a test."""
    copied = folder / "prometheus"
    shutil.copytree(CONFIGURATION, copied)
    key = folder / "gateway_metrics_key"
    key.write_text("not needed")
    file = copied / "prometheus.yml"
    text = file.read_text().replace(KEY_FILE, str(key))
    for name in ("scrape_interval", "evaluation_interval"):
        text = text.replace(f"{name}: 15s", f"{name}: {scrape_seconds:g}s")
    file.write_text(text.replace("scrape_timeout: 10s", f"scrape_timeout: {scrape_seconds:g}s"))
    for job, address in (targets or {}).items():
        (copied / "targets" / f"{job}.yml").write_text(yaml.safe_dump([{"targets": [address]}]))
    return file


@dataclass(frozen=True)
class RunningPrometheus:
    url: str

    def query(self, expression: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the samples of an instant query, or the series of one with `start` and `end`."""
        path = "query_range" if "start" in parameters else "query"
        reply = requests.get(
            f"{self.url}/api/v1/{path}", {"query": expression, **parameters}, timeout=30
        )
        answer = reply.json()
        assert answer["status"] == "success", (expression, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def targets(self) -> dict[str, str]:
        """Return job → `up` or `down` or `unknown`."""
        answer = requests.get(f"{self.url}/api/v1/targets", timeout=30).json()
        return {each["labels"]["job"]: each["health"] for each in answer["data"]["activeTargets"]}

    def rules(self) -> dict[str, str]:
        """Return the name of a rule → its health."""
        groups = requests.get(f"{self.url}/api/v1/rules", timeout=30).json()["data"]["groups"]
        return {each["name"]: each["health"] for group in groups for each in group["rules"]}


@contextmanager
def running_prometheus(
    folder: Path, targets: Mapping[str, str], *, scrape_seconds: float
) -> Iterator[RunningPrometheus]:
    """Run Prometheus with our configuration and the targets (job → host:port) of a test."""
    port = free_port()
    file = configuration_in(folder, targets, scrape_seconds=scrape_seconds)
    spec = ProcessSpec(
        name="prometheus",
        command=(
            need("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ),
        probe=http_probe(f"http://127.0.0.1:{port}/-/ready"),
    )
    with running(spec, log=folder / "prometheus.log"):
        yield RunningPrometheus(f"http://127.0.0.1:{port}")
