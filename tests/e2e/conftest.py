"""Fixtures: one platform for all tests that can share it."""

from collections.abc import Iterator

import pytest

from tests.e2e.documents import write_documents
from tests.e2e.main_job import MainJob, do_main_job
from tests.support.ports import free_port
from tests.support.scripted_model_server import (
    ScriptedModelServer,
    backend_table,
    scripted_model_server,
)
from tests.support.stack import PlatformStack, running_platform


@pytest.fixture(scope="package")
def model_server() -> Iterator[ScriptedModelServer]:
    """A model server whose every answer is known beforehand."""
    with scripted_model_server() as server:
        yield server


@pytest.fixture(scope="package")
def llamacpp_port() -> int:
    """Where the gateway expects a llama.cpp server, whether one runs or not."""
    return free_port()


@pytest.fixture(scope="package")
def shared_platform(
    tmp_path_factory: pytest.TempPathFactory,
    model_server: ScriptedModelServer,
    llamacpp_port: int,
) -> Iterator[PlatformStack]:
    """The whole platform with documents ingested; tests leave it running and whole."""
    folder = tmp_path_factory.mktemp("platform")
    configuration = (
        f"{backend_table(model_server)}\n"
        '[[backends]]\nname = "llamacpp"\nkind = "llamacpp"\n'
        f'url = "http://127.0.0.1:{llamacpp_port}"\n'
    )
    with running_platform(folder, configuration=configuration) as platform:
        ingested = platform.sluice("ingest", str(write_documents(folder / "handbook")))
        assert ingested.returncode == 0, ingested.stdout + ingested.stderr
        yield platform


@pytest.fixture(scope="package")
def main_job(shared_platform: PlatformStack) -> MainJob:
    """200 chat calls, persisted."""
    return do_main_job(shared_platform)
