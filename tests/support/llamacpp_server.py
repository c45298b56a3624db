"""llama.cpp's HTTP server in a process of its own: `python -m tests.support.llamacpp_server`."""

import signal
import sys
import threading
from pathlib import Path

from sluice.servers.probes import http_probe
from sluice.servers.spec import ProcessSpec

MODEL_ALIAS = "tiny-llama"


def llamacpp_process(model: Path, port: int) -> ProcessSpec:
    """Return how a server of `model` on 127.0.0.1 is run."""
    return ProcessSpec(
        name="llamacpp",
        command=(sys.executable, "-m", "tests.support.llamacpp_server", str(model), str(port)),
        probe=http_probe(f"http://127.0.0.1:{port}/health"),
        working_dir=Path(__file__).resolve().parents[2],
    )


def serve(model: str, port: int) -> None:
    """Serve `model` until SIGTERM."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.model_alias = {MODEL_ALIAS}
    parameters.port = port
    parameters.n_ctx = 8192
    parameters.n_parallel = 2
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = 1
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"serving at {server.listening_address}\n")
    sys.stdout.flush()
    is_over.wait()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
