"""Whole answers: requests per second, latency, translation, memory.

The gateways take turns within each round, so that a machine that grows slower meanwhile does so
for all of them; those whose turn it is not are stopped.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from statistics import median

import msgspec

from benchmarks.figures import require
from benchmarks.fixed_upstream import MODEL
from benchmarks.gateway_metrics import (
    BESIDE_LONG_P99,
    CONCURRENCIES,
    DIRECT,
    FAILED,
    FLOOR,
    GROWTH,
    LONG_P50,
    MESSAGES_RATE,
    OURS,
    P50,
    P99,
    PACE_PER_SECOND,
    PACED_P99,
    PACED_RATE,
    PROCESSOR,
    RATE,
    RESIDENT,
    Metric,
    Samples,
)
from benchmarks.gateway_turns import GatewayTurn
from benchmarks.long_prompts import long_body, long_prompts_sent
from benchmarks.resident_memory import growth_per_minute, resident_mebibytes
from benchmarks.wrk_load import LoadResult, Request, Wrk

_QUESTION = {
    "role": "user",
    "content": "Our consumer was restarted in the middle of a batch. Which of the messages does it"
    " get again, and after how long?",
}
_INSTRUCTIONS = (
    "You help the operators of a message broker. Answer in short sentences, name the setting that"
    " is meant, and say so where you do not know."
)
_WITHOUT_FAILURE = (DIRECT, FLOOR, OURS)
_SOAK_SAMPLES = 50


@dataclass(frozen=True)
class LoadPlan:
    """How long and how often is measured."""

    round_count: int
    warm_up_seconds: int
    seconds: int
    """Of each load in a round."""
    soak_seconds: int


def chat_body() -> bytes:
    """Return the chat request that is sent over and over."""
    return msgspec.json.encode(
        {
            "model": MODEL,
            "messages": [{"role": "system", "content": _INSTRUCTIONS}, _QUESTION],
            "temperature": 0.2,
            "max_tokens": 512,
        }
    )


def messages_body() -> bytes:
    """Return the same request as Anthropic's Messages API has it."""
    return msgspec.json.encode(
        {
            "model": MODEL,
            "system": _INSTRUCTIONS,
            "messages": [_QUESTION],
            "temperature": 0.2,
            "max_tokens": 512,
        }
    )


def measure_load(
    plan: LoadPlan,
    wrk: Wrk,
    turns: Sequence[GatewayTurn],
    samples: Samples,
    *,
    say: Callable[[str], None],
) -> None:
    """Load each gateway in turn and add what was seen to `samples`.

    Raises:
        InvariantBroken: a request through the floor or our gateway failed.
    """
    for turn in turns:
        with turn.active():
            request = turn.server.chat(chat_body())
            turn.note(wrk.saturate(request, connections=32, seconds=plan.warm_up_seconds))
    for number in range(plan.round_count):
        for turn in turns:
            with turn.active():
                _Round(plan, wrk, turn, samples).measure()
            rate = samples.values[turn.server.name][RATE[32]][-1]
            say(f"round {number + 1}, {turn.server.name}: {rate:,.0f} requests/s, 32 in flight")
    _require_no_failure(samples)
    for turn in turns:
        if turn.process_id is not None:
            with turn.active():
                _soak(plan, wrk, turn, turn.process_id, samples)
            say(f"soak, {turn.server.name}: {samples.median(turn.server.name, RESIDENT):.0f} MiB")


@dataclass(frozen=True)
class _Round:
    plan: LoadPlan
    wrk: Wrk
    turn: GatewayTurn
    samples: Samples

    def measure(self) -> None:
        chat = self.turn.server.chat(chat_body())
        for connections in CONCURRENCIES:
            before = self.turn.processor_seconds()
            result = self._saturate(chat, connections)
            self._add(RATE[connections], result.requests_per_second)
            self._add(P50[connections], result.p50_milliseconds)
            self._add(P99[connections], result.p99_milliseconds)
            if connections == 32 and before is not None:
                self.turn.server.settle()
                seconds = (self.turn.processor_seconds() or 0.0) - before
                self._add(PROCESSOR, seconds * 1000 / max(1, result.request_count))
        paced = self._send_at_pace(chat)
        self._add(PACED_RATE, paced.requests_per_second)
        self._add(PACED_P99, paced.p99_milliseconds)
        with long_prompts_sent(self.turn.server.chat(long_body(MODEL))) as long_milliseconds:
            beside = self._send_at_pace(chat)
        self.turn.other_calls += len(long_milliseconds)
        self._add(BESIDE_LONG_P99, beside.p99_milliseconds)
        self._add(LONG_P50, median(long_milliseconds))
        if self.turn.server.translates_messages:
            messages = self._saturate(self.turn.server.messages(messages_body()), 32)
            self._add(MESSAGES_RATE, messages.requests_per_second)

    def _saturate(self, request: Request, connections: int) -> LoadResult:
        return self._note(
            self.wrk.saturate(request, connections=connections, seconds=self.plan.seconds)
        )

    def _send_at_pace(self, request: Request) -> LoadResult:
        return self._note(
            self.wrk.send_at_pace(request, per_second=PACE_PER_SECOND, seconds=self.plan.seconds)
        )

    def _note(self, result: LoadResult) -> LoadResult:
        self.turn.note(result)
        self._add(FAILED, result.failed_count)
        return result

    def _add(self, metric: Metric, value: float) -> None:
        self.samples.add(self.turn.server.name, metric, value)


def _require_no_failure(samples: Samples) -> None:
    """Raise InvariantBroken if a request failed, save through a peer."""
    for name in _WITHOUT_FAILURE:
        failed = sum(samples.values[name][FAILED])
        require(failed == 0, f"{failed:g} requests of {name!r} failed")


def _soak(plan: LoadPlan, wrk: Wrk, turn: GatewayTurn, process_id: int, samples: Samples) -> None:
    """Watch the memory under a steady load."""
    name = turn.server.name
    samples.add(name, RESIDENT, resident_mebibytes(process_id))
    started = time.monotonic()
    seconds: list[float] = []
    mebibytes: list[float] = []
    with ThreadPoolExecutor(max_workers=1) as executor:
        load = executor.submit(
            wrk.send_at_pace,
            turn.server.chat(chat_body()),
            per_second=PACE_PER_SECOND,
            seconds=plan.soak_seconds,
        )
        while not load.done():
            seconds.append(time.monotonic() - started)
            mebibytes.append(resident_mebibytes(process_id))
            wait([load], timeout=plan.soak_seconds / _SOAK_SAMPLES)
    turn.note(load.result())
    samples.add(name, GROWTH, growth_per_minute(seconds, mebibytes))
