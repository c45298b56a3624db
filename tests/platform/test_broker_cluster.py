"""Three real nats-servers with what the chart is told: streams in three copies, one node lost."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest
import yaml

from contracts.settings import NatsSettings, PipelineSettings
from contracts.streams import ADVISORIES, PIPELINE, TELEMETRY
from sluice.devstack.broker_chart import chart_values
from sluice.devstack.secret_files import new_password, write_secret_files
from sluice.servers.nats import ADMIN_INBOX, GATEWAY_INBOX
from sluice.servers.probes import http_probe
from sluice.servers.spec import ProcessSpec
from sluice.streams import apply_streams
from tests.support.ports import free_port
from tests.support.processes import running, stop

NODES = 3
ANSWER_SECONDS = 30


@dataclass
class Cluster:
    """The nodes' ports for clients, and how to stop one."""

    ports: list[int]
    stops: list[ExitStack]
    secrets: Path

    def urls(self, user: str) -> list[str]:
        password = (self.secrets / f"nats_{user}_password").read_text()
        return [f"nats://{user}:{password}@127.0.0.1:{port}" for port in self.ports]


def configuration(
    node: int, folder: Path, ports: list[int], routes: list[int], monitor: int
) -> str:
    """Return what the chart makes of its values, as far as addresses do not differ here."""
    told = yaml.safe_load(chart_values())["config"]
    content = {
        "server_name": f"nats-{node}",
        "host": "127.0.0.1",
        "port": ports[node],
        "http": f"127.0.0.1:{monitor}",
        "jetstream": {"store_dir": str(folder / str(node))},
        "cluster": {
            "name": "nats",
            "host": "127.0.0.1",
            "port": routes[node],
            "routes": [f"nats://127.0.0.1:{port}" for port in routes],
        },
        **told["merge"],
    }
    return re.sub(r'"<< (\$\w+) >>"', r"\1", json.dumps(content, indent=1))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    ports, routes, monitors = ([free_port() for _ in range(NODES)] for _ in range(3))
    secrets = tmp_path / "secrets"
    write_secret_files(secrets)
    environment = {
        name: told if isinstance(told, str) else (secrets / name).read_text()
        for name, told in yaml.safe_load(chart_values())["container"]["env"].items()
    }
    stops = []
    with ExitStack() as stack:
        for node in range(NODES):
            file = tmp_path / f"nats-{node}.conf"
            file.write_text(configuration(node, tmp_path, ports, routes, monitors[node]))
            server = ProcessSpec(
                name=f"nats-{node}",
                command=(str(Path(sys.executable).with_name("nats-server")), "-c", str(file)),
                # A node alone has no JetStream yet, for want of a leader.
                probe=http_probe(f"http://127.0.0.1:{monitors[node]}/healthz?js-server-only=true")
                if node == NODES - 1
                else http_probe(f"http://127.0.0.1:{monitors[node]}/varz"),
                environment=environment,
            )
            own = stack.enter_context(ExitStack())
            process = own.enter_context(running(server, log=tmp_path / f"nats-{node}.log"))
            own.callback(stop, process, server)
            stops.append(own)
        yield Cluster(ports, stops, secrets)


def takes_as_a_variable(password: str, folder: Path) -> bool:
    file = folder / "nats.conf"
    file.write_text("authorization: {users: [{user: a, password: $the_password}]}")
    checked = subprocess.run(
        [str(Path(sys.executable).with_name("nats-server")), "-t", "-c", str(file)],
        env={"the_password": password},
        capture_output=True,
        timeout=30,
    )
    return checked.returncode == 0


def test_a_password_is_one_that_the_server_takes_from_a_variable(tmp_path: Path) -> None:
    made = [new_password() for _ in range(300)]

    assert all(re.fullmatch(r"[a-z][\w-]{32}", each) for each in made)
    assert len(set(made)) == len(made)
    assert takes_as_a_variable(made[0], tmp_path)
    # Why: these are what the random part alone may begin with.
    assert not takes_as_a_variable("-" + made[1], tmp_path)
    assert not takes_as_a_variable("12-" + made[1], tmp_path)


async def test_streams_have_three_copies_and_do_without_one(cluster: Cluster) -> None:
    admin_url = cluster.urls("admin")[0]
    async with asyncio.timeout(ANSWER_SECONDS):
        while True:
            try:
                await apply_streams(
                    admin_url, PipelineSettings(), broker=NatsSettings(replicas=NODES)
                )
                break
            except nats.errors.Error:
                # The cluster has no leader yet.
                await asyncio.sleep(0.5)

    admin = await nats.connect(cluster.urls("admin"), inbox_prefix=ADMIN_INBOX)
    gateway = await nats.connect(cluster.urls("gateway"), inbox_prefix=GATEWAY_INBOX)
    try:
        for name in (PIPELINE, TELEMETRY, ADVISORIES):
            info = await admin.jetstream().stream_info(name)
            assert info.config.num_replicas == NODES
            assert info.cluster is not None
            assert len(info.cluster.replicas or []) == NODES - 1
        await gateway.jetstream().publish("pipeline.knowledge.tool_call", b"{}", timeout=10)
        cluster.stops[2].close()

        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                try:
                    await gateway.jetstream().publish(
                        "pipeline.knowledge.tool_call", b"{}", timeout=5
                    )
                    break
                except (nats.errors.Error, TimeoutError):
                    # Another leader is chosen.
                    await asyncio.sleep(0.5)
        assert (await admin.jetstream().stream_info(PIPELINE)).state.messages >= 2
    finally:
        await gateway.close()
        await admin.close()
