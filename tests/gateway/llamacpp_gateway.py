"""A gateway with a real llama.cpp server behind it, and a tiny model in that."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.settings import Api, BackendSettings, Settings
from tests.gateway.conftest import UNREACHABLE_DATABASE, UNREACHABLE_NATS
from tests.gateway.running_gateway import RunningGateway, running_gateway
from tests.support.llamacpp_server import llamacpp_process
from tests.support.ports import free_port
from tests.support.processes import running
from tests.support.tiny_gguf import write_tiny_gguf


@contextmanager
def running_llamacpp(
    folder: Path, *, follows_grammars: bool = False, calls_tools: bool = False
) -> Iterator[str]:
    """Serve a tiny model and yield the server's URL; for the options see `write_tiny_gguf`."""
    model = write_tiny_gguf(
        folder / "tiny.gguf", follows_grammars=follows_grammars, calls_tools=calls_tools
    )
    port = free_port()
    with running(llamacpp_process(model, port), log=folder / "log"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def gateway_of_llamacpp(
    url: str,
    data_dir: Path,
    *,
    postgres_url: str = UNREACHABLE_DATABASE,
    apis: tuple[Api, ...] | None = None,
) -> Iterator[RunningGateway]:
    """Start a gateway without a broker in front of the server at `url`.

    Args:
        apis: what the server is said to speak; None: what it is found to.
    """
    settings = Settings(
        data_dir=data_dir,
        backends=(BackendSettings(name="llamacpp", kind="llamacpp", url=url, apis=apis),),
        nats={"url": UNREACHABLE_NATS},
        postgres={"url": postgres_url},
        encoder={"enabled": False},
        gateway={"shutdown_grace_seconds": 1.0},
    )
    with running_gateway(settings) as gateway:
        yield gateway
