"""Every command and snippet of the README works as printed."""

import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import requests

from sluice.cli import main as sluice_command
from tests.support.stack import PlatformStack

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

TRIED_ELSEWHERE = {
    "make dev": "test_dev_command.py runs `sluice dev`, and CI builds its environment",
    "make test": "CI runs it",
    "make bench": "tests/benchmarks runs the benchmarks with small sizes",
    ".venv/bin/sluice ingest docs/ README.md": "below",
    ".venv/bin/sluice ingest docs/ README.md --collection handbook --attribute team=data": "below",
    ".venv/bin/sluice eval --collection handbook": "below",
    ".venv/bin/sluice ingest --remove README.md --collection handbook": "below",
    ".venv/bin/sluice reembed": "test_reembedding.py",
    ".venv/bin/sluice status": "below",
    ".venv/bin/sluice migrate": "below",
    ".venv/bin/sluice streams": "below",
    ".venv/bin/dagster dev -w workspace.yaml -p 3010": "test_dev_command.py",
}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def _commands() -> set[str]:
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    inline = re.findall(r"`(\.venv/bin/[^`]+|make [^`]+)`", README)
    return {line.partition("#")[0].strip() for line in [*lines, *inline]} - {""}


def test_every_command_of_the_readme_is_tried_somewhere() -> None:
    assert _commands() == set(TRIED_ELSEWHERE)


@pytest.mark.parametrize("target", ["dev", "test", "bench"])
def test_the_make_targets_exist(target: str) -> None:
    result = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_settings_file_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contracts.settings import load_settings

    (block,) = _blocks("toml")
    file = tmp_path / "sluice.toml"
    file.write_text(block)
    monkeypatch.setenv("SLUICE_CONFIG", str(file))

    (backend,) = load_settings().backends

    assert backend.models == tuple(tomllib.loads(block)["backends"][0]["models"])


def test_every_subject_job_and_asset_is_listed() -> None:
    from assets.jobs import BATCH_ASSETS
    from contracts.subjects import PipelineSubject

    for name in [*PipelineSubject, *BATCH_ASSETS, *chain(*BATCH_ASSETS.values())]:
        assert f"`{name}`" in README


@pytest.mark.stack
@pytest.mark.timeout(300)
class TestAgainstARunningPlatform:
    """What the README does once `make dev` runs."""

    def test_the_python_snippet(self, shared_platform: PlatformStack) -> None:
        (snippet,) = _blocks("python")
        gateway = shared_platform.endpoints["gateway"]
        served = requests.get(f"{gateway}/v1/models", timeout=10).json()["data"][0]["id"]
        snippet = snippet.replace("http://127.0.0.1:8080", gateway)
        snippet = snippet.replace('"extractive"', repr(served))

        result = subprocess.run(
            [sys.executable, "-c", snippet], capture_output=True, text=True, check=False
        )

        assert result.returncode == 0, result.stderr
        assert result.stdout.strip()

    @pytest.mark.parametrize(
        "arguments",
        [
            ["ingest", str(ROOT / "docs"), str(ROOT / "README.md")],
            [
                *("ingest", str(ROOT / "docs"), str(ROOT / "README.md")),
                *("--collection", "handbook", "--attribute", "team=data"),
            ],
            ["eval", "--collection", "handbook"],
            ["ingest", "--remove", str(ROOT / "README.md"), "--collection", "handbook"],
            ["status"],
            ["migrate"],
            ["streams"],
        ],
    )
    def test_the_commands(self, shared_platform: PlatformStack, arguments: list[str]) -> None:
        assert arguments[0] in sluice_command.commands

        result = shared_platform.sluice(*arguments)

        assert result.returncode == 0, result.stdout + result.stderr
