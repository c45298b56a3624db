"""The encoder service over `HashingEncoderEngine`, in a process that a test can stop and kill."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from contracts.settings import EncoderSettings
from encoder.server import serve
from knowledge.encoding.remote_encoder import BlockingRemoteEncoder
from knowledge.ports import EncoderModel, EncoderUnavailable
from tests.support.hashing_encoder_engine import HASHING_MODEL, HashingEncoderEngine
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
_READY_SECONDS = 30


@dataclass
class EncoderProcess:
    """An encoder on ports that stay its own when it is started again."""

    log: Path
    port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    queue_tokens: int = 262_144
    model_name: str = HASHING_MODEL.name
    dimensions: int = HASHING_MODEL.dimensions
    seconds_per_batch: float = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> EncoderSettings:
        """The settings of whoever uses it."""
        return EncoderSettings(port=self.port, grpc_port=self.grpc_port)

    @property
    def _arguments(self) -> str:
        model = replace(HASHING_MODEL, name=self.model_name, dimensions=self.dimensions)
        settings = self.settings.model_copy(update={"queue_tokens": self.queue_tokens})
        return json.dumps(
            {
                "settings": settings.model_dump(mode="json"),
                "model": asdict(model),
                "seconds_per_batch": self.seconds_per_batch,
            }
        )

    def start(self) -> None:
        """Start it and wait until it describes its model."""
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.hashing_encoder_process", self._arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _READY_SECONDS
        with BlockingRemoteEncoder(self.settings.target, timeout_seconds=1) as client:
            while True:
                try:
                    assert client.model.name == self.model_name
                except EncoderUnavailable:
                    assert self._process.poll() is None, self.log.read_text()
                    assert time.monotonic() < deadline, self.log.read_text()
                    time.sleep(0.05)
                else:
                    return

    def send(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP makes it hang, SIGCONT go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and wait until it is gone; nothing happens where it is not there."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def encoder_process(log: Path, **fields: Any) -> Iterator[EncoderProcess]:
    """Run the encoder until the end of the block."""
    encoder = EncoderProcess(log, **fields)
    try:
        encoder.start()
        yield encoder
    finally:
        encoder.kill()


def main() -> None:
    arguments = json.loads(sys.argv[1])
    engine: Any = HashingEncoderEngine(
        EncoderModel(**arguments["model"]), seconds_per_batch=arguments["seconds_per_batch"]
    )
    serve(EncoderSettings(**arguments["settings"]), lambda: engine)


if __name__ == "__main__":
    main()
