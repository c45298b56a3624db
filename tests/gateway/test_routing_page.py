"""The page about routing says what the settings are."""

import re
from pathlib import Path

import pytest

from contracts.settings import BackendSettings, RoutingSettings, load_settings
from gateway.backends.model_names import ModelNames
from tests.gateway.running_router import running_router

PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", PAGE, flags=re.MULTILINE)


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[BackendSettings, ...]:
    (example,) = EXAMPLES
    file = tmp_path / "sluice.toml"
    file.write_text(example)
    monkeypatch.setenv("SLUICE_CONFIG", str(file))
    return load_settings().backends


async def test_the_example_routes_as_it_says(backends: tuple[BackendSettings, ...]) -> None:
    async with running_router(*backends) as router:
        for model in ("qwen3-coder:30b", "fast", "claude-x", "local/qwen", "qwen3-8b"):
            assert (await router.route(model)).backend == "workstation"
    match = ModelNames(backends[0]).match("local/qwen")
    assert match is not None
    assert match.backend_model == "qwen"


def test_the_defaults_are_the_settings_own() -> None:
    documented = dict(ROWS)
    for name, setting in RoutingSettings.model_fields.items():
        if name != "choice":
            assert float(documented[name]) == setting.default
    for name in ("max_queued", "queue_timeout_seconds"):
        assert float(documented[name]) == BackendSettings.model_fields[name].default
    for name in ("connect_timeout_seconds", "first_byte_timeout_seconds", "idle_timeout_seconds"):
        default = BackendSettings.model_fields[name].default
        assert re.search(rf"`{name}` \({default:g}\b", PAGE)
