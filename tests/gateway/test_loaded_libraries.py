"""What a gateway has in memory before it has documents, and does not need until then."""

import sys
from pathlib import Path

import aiohttp
import pytest

from gateway.optional_packages import left_out
from tests.gateway.gateway_process import gateway_process, wait_until_alive
from tests.support.ports import free_port

NEEDED_FOR_VECTORS = ("numpy", "grpc", "google")
NEVER_NEEDED = ("sqlalchemy", "aiohttp", "watchfiles", "onnxruntime", "pyarrow", "dagster")


def libraries(process_id: int) -> set[str]:
    """Return the packages of the compiled modules that a process has mapped."""
    packages = set()
    for line in Path(f"/proc/{process_id}/maps").read_text().splitlines():
        _, separator, path = line.partition("/site-packages/")
        if separator:
            packages.add(path.partition("/")[0].partition(".")[0])
    return packages


async def test_only_what_is_needed_is_loaded(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    port = free_port()
    (tmp_path / "sluice.toml").write_text(f"[gateway]\nport = {port}\n")
    with gateway_process(tmp_path, SLUICE_DATA_DIR=str(tmp_path)) as (process, _):
        await wait_until_alive(client, f"http://127.0.0.1:{port}")
        loaded = libraries(process.pid)
        # Its own are there, so the names are read as they should be.
        assert {"httptools", "uvloop", "msgspec"} <= loaded
        assert not loaded.intersection([*NEEDED_FOR_VECTORS, *NEVER_NEEDED])

        # Health asks the encoder, if only to find that there is none.
        async with client.get(f"http://127.0.0.1:{port}/healthz?verbose") as response:
            assert (await response.json())["encoder"]["status"] == "unreachable"
        assert {"numpy", "grpc"} <= libraries(process.pid)


def test_left_out_packages_are_importable_again() -> None:
    name = "this_package_is_left_out_for_a_moment"
    with left_out(name, "sys"):
        assert "sys" in sys.modules
        with pytest.raises(ImportError):
            __import__(name)
    assert name not in sys.modules
