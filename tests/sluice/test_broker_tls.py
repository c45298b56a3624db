"""The broker over TLS, with nkeys: what is refused, why, and that everything else works."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import nats.errors
import pytest
import requests

from contracts.broker_access import BrokerAccess, BrokerAccessError
from contracts.broker_client import BrokerWithoutTls, connect_briefly
from contracts.nkeys import NotAnNkeySeed, UserNkey
from contracts.settings import (
    NatsSettings,
    PipelineSettings,
    Settings,
    SettingsError,
    SpoolSettings,
    load_settings,
)
from gateway.publisher import EventPublisher
from gateway.spool.spool import Spool
from gateway.starting import CannotStart, require_usable
from sluice.servers.broker_tls import BrokerTlsError, prepare_broker_tls
from sluice.servers.nats import EmbeddedNats, prepare_nkeys
from tests.gateway.conftest import chat_body
from tests.gateway.running_gateway import running_gateway
from tests.support.broker_servers import new_broker, running_broker, started_broker
from tests.support.dagster_runs import Orchestrator
from tests.support.database import count_by_correlation


@pytest.fixture
def broker(tmp_path: Path, pipeline_settings: PipelineSettings) -> Iterator[EmbeddedNats]:
    with running_broker(tmp_path / "broker", pipeline_settings, tls=True, nkeys=True) as server:
        yield server


@pytest.fixture
def password_broker(tmp_path: Path, pipeline_settings: PipelineSettings) -> Iterator[EmbeddedNats]:
    with running_broker(tmp_path / "broker", pipeline_settings, tls=True) as server:
        yield server


def another_ca(folder: Path) -> Path:
    files = prepare_broker_tls(NatsSettings(tls=True), folder / "another")
    assert files is not None
    return files.ca


def broker_variables(broker: BrokerAccess) -> dict[str, str]:
    files = {f"SLUICE_NATS_{name.upper()}": path for name, path in broker.paths.items()}
    return {"SLUICE_NATS_URL": broker.url, **files}


async def test_an_unknown_ca_is_refused(broker: EmbeddedNats, tmp_path: Path) -> None:
    gateway = broker.access("gateway")
    stranger = BrokerAccess(gateway.url, another_ca(tmp_path), nkey_seed=gateway.nkey_seed)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        await connect_briefly(stranger)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        await connect_briefly(BrokerAccess(gateway.url, nkey_seed=gateway.nkey_seed))


async def test_a_client_without_tls_is_refused(broker: EmbeddedNats) -> None:
    """nats-py turns to TLS where the server demands it; a client that does not is cut off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    info = await reader.readline()
    assert b'"tls_required":true' in info
    writer.write(b'CONNECT {"verbose":true}\r\nPING\r\n')
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    assert b"PONG" not in answer
    assert b"+OK" not in answer


@asynccontextmanager
async def plaintext_broker_double() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that greets as a broker without TLS, and keeps what is said to it."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"double","auth_required":true}\r\n')
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


async def test_a_server_without_tls_hears_no_password() -> None:
    async with plaintext_broker_double() as (port, heard):
        access = BrokerAccess(f"tls://gateway:secret@127.0.0.1:{port}")
        with pytest.raises(BrokerWithoutTls, match=f"127.0.0.1:{port} does not speak TLS"):
            await connect_briefly(access)
        async with asyncio.timeout(10):
            while not heard:
                await asyncio.sleep(0.01)
    assert b"".join(heard) == b""


async def test_a_real_server_without_tls_is_refused(nats_server: EmbeddedNats) -> None:
    url = nats_server.url("gateway").replace("nats://", "tls://")
    with pytest.raises(BrokerWithoutTls):
        await connect_briefly(url)


@pytest.mark.parametrize("content", ["SUNOSEED", None], ids=["damaged", "missing"])
@pytest.mark.parametrize("setting", ["tls_ca", "nkey_seed"])
def test_the_gateway_does_not_start_with_a_wrong_file(
    tmp_path: Path, setting: str, content: str | None
) -> None:
    file = tmp_path / "wrong-file"
    if content is not None:
        file.write_text(content)
    settings = Settings(nats={"url": "tls://127.0.0.1:1", setting: file}, data_dir=tmp_path)
    with pytest.raises(CannotStart, match=f"nats.{setting} = {file}: ") as refusal:
        require_usable(settings)
    assert "SUNOSEED" not in str(refusal.value)


def new_publisher(access: BrokerAccess, folder: Path) -> EventPublisher:
    spool = Spool(folder / "spool", SpoolSettings())
    return EventPublisher(access, spool, max_events=100, max_bytes=10**6)


async def wait_for_error(publisher: EventPublisher, expected: str) -> None:
    async with asyncio.timeout(20):
        while expected not in publisher.last_error:
            await asyncio.sleep(0.01)


async def test_the_publisher_says_that_the_broker_refuses_its_nkey(
    broker: EmbeddedNats, tmp_path: Path
) -> None:
    seed = tmp_path / "strange.nk"
    seed.write_text(UserNkey.new().seed)
    publisher = new_publisher(replace(broker.access("gateway"), nkey_seed=seed), tmp_path)
    publisher.start()
    await wait_for_error(publisher, "Authorization Violation")
    with pytest.raises(ConnectionError, match="Authorization Violation"):
        await publisher.measure_latency(1)
    await publisher.stop(0)


async def test_the_publisher_finds_a_broker_whose_certificate_is_right_at_last(
    tmp_path: Path,
) -> None:
    """A refused handshake must not be the last: nats-py alone waits for its end for ever."""
    right, wrong = (new_broker(tmp_path / name, tls=True) for name in ("right", "wrong"))
    wrong = replace(wrong, port=right.port, credentials=right.credentials)
    publisher = new_publisher(right.access("gateway"), tmp_path)
    publisher.start()
    for server in (wrong, right):
        server.write_configuration()
        async with started_broker(server, tmp_path / "log"):
            if server is wrong:
                await wait_for_error(publisher, "certificate verify failed")
                # So that more than one try is refused.
                await asyncio.sleep(1.5)
                continue
            async with asyncio.timeout(20):
                while not publisher.is_connected:
                    await asyncio.sleep(0.01)
    await publisher.stop(0)


async def test_a_wrong_password_over_tls_is_refused(password_broker: EmbeddedNats) -> None:
    url = f"tls://gateway:wrong@127.0.0.1:{password_broker.port}"
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await connect_briefly(BrokerAccess(url, password_broker.access("gateway").tls_ca))


@pytest.mark.parametrize("fixture", ["broker", "password_broker"])
def test_a_chat_s_events_become_rows_over_tls(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    fixture: str,
) -> None:
    broker: EmbeddedNats = request.getfixturevalue(fixture)
    access = broker.access("gateway")
    settings = Settings(
        nats={"url": access.url, **access.paths},
        postgres={"url": database_url},
        encoder={"enabled": False},
        data_dir=tmp_path / "data",
    )
    with running_gateway(settings) as gateway:
        reply = requests.post(
            f"{gateway.url}/v1/chat/completions",
            json=chat_body(model="extractive"),
            headers={"x-correlation-id": "over-tls"},
            timeout=30,
        )
        assert reply.status_code == 200, reply.text
    for name, value in broker_variables(broker.access("dagster")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLUICE_DATA_DIR", str(tmp_path / "data"))
    orchestrator = Orchestrator(database_url=database_url, nats_url="")
    for sensor in ("nats_dagster_chat_persist", "nats_dagster_flow_lineage"):
        assert all(each.success for each in orchestrator.drain(sensor))
    for table in ("chat_history", "flow_lineage"):
        assert count_by_correlation(database_url, table, ["over-tls"]) == {"over-tls": 1}


def test_files_are_private_and_stay_over_a_second_start(tmp_path: Path) -> None:
    settings = NatsSettings(tls=True, users="nkey")
    first, seeds = prepare_broker_tls(settings, tmp_path / "tls"), prepare_nkeys(tmp_path / "nkeys")
    assert first is not None
    ca, certificate = first.ca.read_bytes(), first.certificate.read_bytes()
    texts = {user: file.read_text() for user, file in seeds.items()}
    for secret in (first.key, tmp_path / "tls" / "ca-key.pem", *seeds.values()):
        assert secret.stat().st_mode & 0o777 == 0o600
    assert prepare_broker_tls(settings, tmp_path / "tls") == first
    assert first.ca.read_bytes() == ca
    assert first.certificate.read_bytes() != certificate
    assert {user: file.read_text() for user, file in prepare_nkeys(tmp_path / "nkeys").items()} == (
        texts
    )


def test_damaged_files_stop_the_start(tmp_path: Path) -> None:
    seeds = prepare_nkeys(tmp_path)
    seeds["dagster"].write_text("damaged")
    with pytest.raises(NotAnNkeySeed, match=r"dagster\.nk"):
        prepare_nkeys(tmp_path)
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no PEM")
    named = NatsSettings(tls=True, tls_certificate=wrong, tls_key=wrong, tls_ca=wrong)
    with pytest.raises(BrokerTlsError, match=r"wrong\.pem"):
        prepare_broker_tls(named, tmp_path / "tls")


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"TLS_CERTIFICATE": "c.pem"}, "tls_certificate and tls_key go together"),
        ({"CLIENT_KEY": "k.pem"}, "client_certificate and client_key go together"),
        ({"TLS_CERTIFICATE": "c", "TLS_KEY": "k"}, "it needs tls = true"),
        ({"TLS_CERTIFICATE": "c", "TLS_KEY": "k", "TLS": "true"}, "needs tls_ca"),
        ({"URL": "nats://broker:4222", "TLS": "true"}, "another's is asked by tls://"),
        ({"URL": "tls://broker:4222", "USERS": "nkey"}, "takes an nkey_seed"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    variables: dict[str, str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"SLUICE_NATS_{name}", value)
    with pytest.raises(SettingsError, match=complaint):
        load_settings()


def test_an_encrypted_client_key_is_refused(tmp_path: Path) -> None:
    from tests.gateway.certificates import write_certificate

    certificate, key = write_certificate(tmp_path, passphrase=b"secret")
    with pytest.raises(BrokerAccessError, match="without a passphrase"):
        BrokerAccess("tls://127.0.0.1:1", None, certificate, key).check()
