"""`sluice dev`: the whole platform on one machine, in the foreground."""

import asyncio
import os
import shlex
import signal
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import nats.errors

from contracts.broker_access import BrokerAccessError
from contracts.settings import Settings
from sluice.console import DevConsole
from sluice.databases import ensure_database
from sluice.endpoints import announce, withdraw
from sluice.migrations import migrate
from sluice.ports import free_port, require_free_ports
from sluice.servers.dagster import PROJECT_ROOT, DagsterServers
from sluice.servers.encoder import encoder_process
from sluice.servers.gateway import gateway_process
from sluice.servers.spec import ProcessSpec
from sluice.stack import PLATFORM_DATABASE, Stack
from sluice.streams import apply_streams, count_changes
from sluice.supervisor import ProcessFailed, Supervisor

_DOTENV_MARK = (
    "# Written by `sluice dev`, so that `dagster dev -w workspace.yaml` finds its servers."
)


async def run_platform(settings: Settings) -> None:
    """Start everything, wait for Ctrl-C, stop everything.

    Raises:
        PortTaken: a port is in use.
        ProcessFailed: a process did not start, or cannot be kept running.
    """
    console = DevConsole()
    stack = Stack.of_settings(settings)
    require_free_ports(stack.wanted_ports())
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupted.set)
    supervisor = Supervisor(console.log)
    main = asyncio.create_task(_start_and_wait(stack, supervisor, console))
    interruption = asyncio.create_task(interrupted.wait())
    try:
        await asyncio.wait({main, interruption}, return_when=asyncio.FIRST_COMPLETED)
        if main.done():
            main.result()
    finally:
        main.cancel()
        interruption.cancel()
        console.say("stopping …")
        started = time.monotonic()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(main, return_exceptions=True)
        await supervisor.stop()
        withdraw(stack.data_dir)
        console.say(f"everything has stopped ({time.monotonic() - started:.1f} s)")


async def _start_and_wait(stack: Stack, supervisor: Supervisor, console: DevConsole) -> None:
    started = time.monotonic()
    await _run_together(
        _start_encoder(stack, supervisor, console), _start_others(stack, supervisor, console)
    )
    announce(stack.data_dir, stack.endpoints)
    console.say(f"ready after {time.monotonic() - started:.1f} s")
    addresses = {
        "gateway (OpenAI API)": f"{stack.endpoints.gateway}/v1",
        "Dagster UI": stack.endpoints.dagster,
        **stack.endpoints.without_secrets(),
    }
    del addresses["gateway"], addresses["dagster"]
    console.show_endpoints(addresses, await _example(stack.endpoints.gateway))
    await supervisor.wait()


async def _start_encoder(stack: Stack, supervisor: Supervisor, console: DevConsole) -> None:
    """Start it beside everything else: the first time it builds its model, and nobody waits."""
    if not stack.has_own_encoder:
        return
    console.say("starting the encoder …")
    await supervisor.start([encoder_process(stack.settings.encoder, stack.base_environment())])


async def _start_others(stack: Stack, supervisor: Supervisor, console: DevConsole) -> None:
    await _start_data_servers(stack, supervisor, console)
    await _prepare_data(stack, console)
    await _start_services(stack, supervisor, console)


async def _start_data_servers(stack: Stack, supervisor: Supervisor, console: DevConsole) -> None:
    processes: list[ProcessSpec] = []
    if stack.postgres is not None:
        if not stack.postgres.is_initialised:
            console.say("making the PostgreSQL data directory …")
        await asyncio.to_thread(stack.postgres.initialise)
        processes.append(stack.postgres.process())
    if stack.nats is not None:
        stack.nats.write_configuration()
        processes.append(stack.nats.process())
    if processes:
        console.say(f"starting {' and '.join(each.name for each in processes)} …")
        await supervisor.start(processes)


async def _prepare_data(stack: Stack, console: DevConsole) -> None:
    if stack.postgres is not None:
        await asyncio.to_thread(ensure_database, stack.postgres.url("postgres"), PLATFORM_DATABASE)
    await asyncio.to_thread(migrate, stack.sqlalchemy_url)
    console.say("the database is migrated")
    try:
        applied = await apply_streams(
            stack.broker("admin"), stack.settings.pipeline, broker=stack.settings.nats
        )
    except (BrokerAccessError, nats.errors.Error, OSError, TimeoutError) as error:
        raise ProcessFailed(f"the broker: {str(error) or type(error).__name__}") from error
    console.say(f"{len(applied)} streams and consumers, {count_changes(applied)} new or changed")
    if stack.settings.dagster.postgres_url is None:
        await asyncio.to_thread(ensure_database, stack.database_url, "dagster")


async def _start_services(stack: Stack, supervisor: Supervisor, console: DevConsole) -> None:
    home = stack.data_dir / "dagster"
    environment = {**stack.dagster_environment(), "DAGSTER_HOME": str(home)}
    dagster = DagsterServers(
        home=home,
        port=stack.settings.dagster.port,
        storage_url=stack.dagster_database_url,
        code_port=free_port(),
        environment=environment,
    )
    if not dagster.is_prepared:
        console.say("preparing Dagster's storage …")
    await asyncio.to_thread(dagster.prepare)
    _write_dotenv(stack)
    console.say("starting the gateway and Dagster's code location, webserver and daemon …")
    gateway = gateway_process(stack.settings.gateway, stack.environment("gateway"))
    await _run_together(supervisor.start([gateway]), _start_dagster(dagster, supervisor))


async def _start_dagster(dagster: DagsterServers, supervisor: Supervisor) -> None:
    await supervisor.start([dagster.code_location()])
    await supervisor.start([dagster.webserver(), dagster.daemon()])


async def _run_together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run `parts` until all are done; when one fails, give up the others and raise its error."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _write_dotenv(stack: Stack) -> None:
    """Leave the servers' addresses in the checkout's `.env`, which Dagster's commands read."""
    file = PROJECT_ROOT / ".env"
    is_default_data = stack.data_dir == PROJECT_ROOT / ".sluice"
    is_ours = not file.exists() or file.read_text().startswith(_DOTENV_MARK)
    if not (is_default_data and is_ours):
        return
    lines = [f"{key}={shlex.quote(value)}" for key, value in stack.dagster_environment().items()]
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write("\n".join([_DOTENV_MARK, *lines, ""]))


async def _example(gateway: str) -> str:
    """Return a command that works as printed, with a model that is served."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{gateway}/v1/models") as reply:
            if reply.status == 401:
                return f"curl -s {gateway}/v1/models -H 'Authorization: Bearer <an API key>'"
            models = (await reply.json())["data"]
    except aiohttp.ClientError as error:
        raise ProcessFailed(f"{gateway} does not answer as the gateway does: {error}") from error
    if not models:
        return f"curl -s '{gateway}/healthz?verbose'   # no backend names its models yet"
    body = {
        "model": models[0]["id"],
        "messages": [{"role": "user", "content": "What is in the documents?"}],
    }
    return (
        f"curl -s {gateway}/v1/chat/completions -H 'Content-Type: application/json'"
        f" -d {shlex.quote(msgspec.json.encode(body).decode())}"
    )
