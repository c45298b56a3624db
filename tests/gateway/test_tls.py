"""HTTPS of the gateway's own port."""

import ssl
from pathlib import Path

import aiohttp
import pytest

from contracts.settings import GatewaySettings
from gateway.tls import TlsError, open_tls
from tests.gateway.certificates import write_certificate
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.gateway_process import run_until_exit
from tests.gateway.scripted_upstream import ScriptedUpstream


async def test_a_call_over_tls(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    tmp_path: Path,
) -> None:
    certificate, key = write_certificate(tmp_path)
    gateway = start_gateway(
        backend_of(upstream),
        gateway={"tls_certificate": certificate, "tls_key": key, "tls_min_version": "1.3"},
    )
    url = gateway.url.replace("http:", "https:")
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with client.post(
        f"{url}/v1/chat/completions", json=chat_body(), ssl=trusting
    ) as response:
        assert response.status == 200
    old = ssl.create_default_context(cafile=str(certificate))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.get(f"{url}/healthz", ssl=old)
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.get(f"{gateway.url}/healthz")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    for files in ((certificate, tmp_path / "absent.pem"), write_certificate(other)[::-1]):
        with pytest.raises(TlsError, match=str(files[1])):
            open_tls(GatewaySettings(tls_certificate=files[0], tls_key=files[1]))
    certificate, key = write_certificate(tmp_path, passphrase=b"secret")
    with pytest.raises(TlsError, match="without a passphrase"):
        open_tls(GatewaySettings(tls_certificate=certificate, tls_key=key))


def test_half_of_a_pair_stops_the_start(tmp_path: Path) -> None:
    finished = run_until_exit(tmp_path, SLUICE_GATEWAY_TLS_KEY="key.pem")
    assert finished.returncode == 1
    assert "tls_certificate and tls_key go together" in finished.stderr


def test_a_wrong_certificate_stops_the_start(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    key.write_text("none")
    finished = run_until_exit(
        tmp_path, SLUICE_GATEWAY_TLS_CERTIFICATE=str(certificate), SLUICE_GATEWAY_TLS_KEY=str(key)
    )
    assert finished.returncode == 1
    assert "cannot be used" in finished.stderr
    assert "Traceback" not in finished.stderr
