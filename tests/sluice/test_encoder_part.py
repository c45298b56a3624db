"""The encoder as a part of the platform: its own, another's, or none."""

from pathlib import Path

import pytest

from contracts.broker_access import BrokerAccess
from contracts.settings import EncoderSettings, Settings
from sluice.endpoints import Endpoints
from sluice.servers.encoder import encoder_process
from sluice.stack import Stack
from sluice.status import check_health
from tests.support.hashing_encoder_process import encoder_process as running_encoder
from tests.support.ports import free_port
from tests.support.processes import running


def _stack(folder: Path, **encoder: object) -> Stack:
    return Stack.of_settings(Settings(data_dir=folder, encoder=EncoderSettings(**encoder)))


def test_its_own_is_run_here_and_shown(tmp_path: Path) -> None:
    stack = _stack(tmp_path, port=3101, grpc_port=3102)

    assert stack.has_own_encoder
    wanted = stack.wanted_ports()
    assert wanted["encoder.port"] == ("127.0.0.1", 3101)
    assert wanted["encoder.grpc_port"] == ("127.0.0.1", 3102)
    assert stack.endpoints.without_secrets()["encoder"] == "http://127.0.0.1:3101"
    assert stack.endpoints.encoder_grpc == "127.0.0.1:3102"


def test_anothers_is_used(tmp_path: Path) -> None:
    stack = _stack(tmp_path, url="far:3002")

    assert not stack.has_own_encoder
    assert not [setting for setting in stack.wanted_ports() if setting.startswith("encoder")]
    assert stack.endpoints.without_secrets()["encoder"] == "grpc://far:3002"


def test_none_is_not_there(tmp_path: Path) -> None:
    stack = _stack(tmp_path, enabled=False)

    assert not stack.has_own_encoder
    assert not [setting for setting in stack.wanted_ports() if setting.startswith("encoder")]
    assert not [part for part in stack.endpoints.without_secrets() if part.startswith("encoder")]


def test_it_gets_no_credentials(tmp_path: Path) -> None:
    environment = _stack(tmp_path).base_environment()

    assert environment["SLUICE_DATA_DIR"] == str(tmp_path)
    assert not [value for value in environment.values() if "://" in value]


@pytest.mark.parametrize("is_own", [True, False])
async def test_status_asks_it(tmp_path: Path, is_own: bool) -> None:
    with running_encoder(tmp_path / "log") as encoder:
        address = {"port": encoder.port} if is_own else {"url": encoder.settings.target}
        settings = Settings(data_dir=tmp_path, encoder=EncoderSettings(**address))
        endpoints = Endpoints.of_settings(
            settings,
            broker=BrokerAccess(f"nats://127.0.0.1:{free_port()}"),
            postgres=f"postgresql://127.0.0.1:{free_port()}/none",
        )

        assert (await check_health(endpoints))["encoder"].status == "ok"
        encoder.kill()
        health = (await check_health(endpoints))["encoder"]
        assert health.status == "down"
        assert health.detail


def test_the_process_is_ready_with_its_model_and_ends_when_told(tmp_path: Path) -> None:
    settings = EncoderSettings(port=free_port(), grpc_port=free_port())
    environment = {
        "SLUICE_DATA_DIR": str(tmp_path),
        "SLUICE_ENCODER_PORT": str(settings.port),
        "SLUICE_ENCODER_GRPC_PORT": str(settings.grpc_port),
    }

    with running(encoder_process(settings, environment), log=tmp_path / "log") as process:
        process.terminate()
        process.wait(10)

    log = (tmp_path / "log").read_text()
    assert "encoder ready" in log
    assert "encoder stopped" in log
