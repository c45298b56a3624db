"""Fixtures: one gateway in front of model servers of every kind, which play recorded answers."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from contracts.settings import BackendSettings, Settings
from tests.gateway.conftest import UNREACHABLE_NATS
from tests.gateway.running_gateway import RunningGateway, running_gateway
from tests.gateway.scripted_upstream import COMPLETION, ScriptedUpstream, answer_json
from tests.gateway.scripted_upstream import scripted_upstream as serve_scripted_upstream
from tests.support.recorded_answers import RECORDERS, Recorder


@pytest.fixture(params=RECORDERS, ids=lambda recorder: recorder.kind)
def recorder(request: pytest.FixtureRequest) -> Recorder:
    """Each kind of backend in turn."""
    recorder: Recorder = request.param
    return recorder


@pytest.fixture(scope="package")
def _shared_upstream() -> Iterator[ScriptedUpstream]:
    with _upstream_in_a_thread() as upstream:
        yield upstream


@pytest.fixture(scope="package")
def gateway(
    _shared_upstream: ScriptedUpstream,
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[], str],
) -> Iterator[RunningGateway]:
    """A gateway with a backend of each kind, all of them the scripted upstream.

    It has a database, and no broker.
    """
    backends = tuple(
        BackendSettings(
            name=recorder.kind,
            kind=recorder.kind,
            url=_shared_upstream.url,
            models=(recorder.model,),
            context_length=100_000,
        )
        for recorder in RECORDERS
    )
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("gateway"),
        backends=backends,
        nats={"url": UNREACHABLE_NATS},
        postgres={"url": new_database()},
        encoder={"enabled": False},
        gateway={"shutdown_grace_seconds": 1.0},
    )
    with running_gateway(settings) as gateway:
        yield gateway


@pytest.fixture
def upstream(_shared_upstream: ScriptedUpstream) -> ScriptedUpstream:
    """The model server behind `gateway`; a test gives it its script."""
    _shared_upstream.requests.clear()
    _shared_upstream.script = lambda _request: answer_json(COMPLETION)
    return _shared_upstream


@contextmanager
def _upstream_in_a_thread() -> Iterator[ScriptedUpstream]:
    """Serve the scripted upstream in an event loop of its own, for more than one test."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="upstream", daemon=True)
    thread.start()
    server = serve_scripted_upstream()
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
