"""Whether the gateway's memory grows: ten minutes of a steady load, beside the floor's."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.environment import only_these_settings
from benchmarks.figures import Figure, Reference, require
from benchmarks.fixed_upstream import fixed_upstream_process
from benchmarks.floor import floor_server
from benchmarks.gateway_load import chat_body
from benchmarks.gateway_turns import GatewayTurn, waiting_gateways
from benchmarks.load_tools import find_load_tools
from benchmarks.platform_servers import running_platform_servers
from benchmarks.resident_memory import growth_per_minute, resident_mebibytes
from benchmarks.sluice_server import sluice_server
from benchmarks.wrk_load import LoadResult, Wrk
from tests.support.ports import free_port
from tests.support.processes import running

_PER_SECOND = 100
_INTERVAL_SECONDS = 5.0
_SETTLED_AFTER = 0.5
"""Of the time: what grows in the first half may be caches that fill, in the second it is a leak."""


@dataclass
class _Watch:
    """The samples of one gateway."""

    turn: GatewayTurn
    process_id: int
    load: "Future[LoadResult]"
    seconds: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)

    def sample(self, now: float) -> None:
        self.seconds.append(now)
        self.mebibytes.append(resident_mebibytes(self.process_id))

    def growth(self, *, after: float) -> float:
        """Return MiB a minute from the moment `after` on."""
        kept = [at for at, second in enumerate(self.seconds) if second >= after]
        return growth_per_minute(
            [self.seconds[at] for at in kept], [self.mebibytes[at] for at in kept]
        )


def run_growth_benchmark(
    folder: Path, *, is_quick: bool, say: Callable[[str], None]
) -> list[Figure]:
    """Load the gateway and its floor side by side, and watch their resident memory.

    Raises:
        ToolsMissing: nginx or wrk is not installed.
        InvariantBroken: a request failed.
    """
    seconds = 1 if is_quick else 600
    tools = find_load_tools()
    port = free_port()
    upstream = fixed_upstream_process(tools, folder / "nginx", port)
    url = f"http://127.0.0.1:{port}"
    with (
        only_these_settings(folder, {}),
        running_platform_servers(folder) as servers,
        running(upstream, log=folder / "upstream.log"),
        waiting_gateways(
            [
                floor_server(folder, free_port(), url),
                sluice_server(folder / "sluice", free_port(), url, servers=servers),
            ],
            chat_body(),
            folder,
            prefix=(),
        ) as turns,
        ExitStack() as stack,
        ThreadPoolExecutor(max_workers=len(turns)) as executor,
    ):
        for turn in turns:
            stack.enter_context(turn.active())
        watches = [_start(turn, executor, tools.wrk, folder, seconds) for turn in turns]
        _sample(watches, 0.1 if is_quick else _INTERVAL_SECONDS, say)
        return _figures(watches, seconds)


def _start(
    turn: GatewayTurn, executor: ThreadPoolExecutor, program: Path, folder: Path, seconds: int
) -> _Watch:
    own_folder = folder / f"load-{turn.server.name}"
    own_folder.mkdir()
    if turn.process_id is None:
        raise ValueError(f"{turn.server.name} has no process to be watched")
    load = executor.submit(
        Wrk(program, own_folder).send_at_pace,
        turn.server.chat(chat_body()),
        per_second=_PER_SECOND,
        seconds=seconds,
    )
    return _Watch(turn, turn.process_id, load)


def _sample(watches: list[_Watch], interval: float, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    next_word = 0.0
    while not all(watch.load.done() for watch in watches):
        now = time.monotonic() - started
        for watch in watches:
            watch.sample(now)
        if now >= next_word:
            next_word += 60.0
            sizes = [f"{each.turn.server.name} {each.mebibytes[-1]:.1f}" for each in watches]
            say(f"after {now:.0f} s: {', '.join(sizes)} MiB")
        wait([watch.load for watch in watches], timeout=interval)


def _figures(watches: list[_Watch], seconds: int) -> list[Figure]:
    setup = f"{_PER_SECOND} requests/s for {seconds} s, the floor beside it, broker syncs always"
    floor = _measured(watches[0], seconds)
    return [
        Figure(f"{watch.turn.server.name}: {name}", value, unit, Reference("floor", like), setup)
        for watch in watches
        for (name, unit, value), (_, _, like) in zip(_measured(watch, seconds), floor, strict=True)
    ]


def _measured(watch: _Watch, seconds: int) -> list[tuple[str, str, float]]:
    load = watch.load.result()
    require(load.failed_count == 0, f"{watch.turn.server.name}: {load.failed_count} failures")
    settled = seconds * _SETTLED_AFTER
    return [
        ("answered requests", "requests", load.request_count),
        ("resident memory at the start", "MiB", watch.mebibytes[0]),
        ("resident memory at the end", "MiB", watch.mebibytes[-1]),
        ("most resident memory", "MiB", max(watch.mebibytes)),
        ("growth", "MiB/min", watch.growth(after=0)),
        ("growth in the second half", "MiB/min", watch.growth(after=settled)),
    ]
