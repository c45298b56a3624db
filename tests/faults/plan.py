"""Which faults come when: a function of the seed."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.faults.host_settings import COMPUTE, DESKTOP
from tests.faults.machine_faults import ClockStep, FullDisk
from tests.faults.nemesis import Nemesis, PlannedFault, uniform
from tests.faults.network_faults import Deafen, Flap, HostStop, Throttle, Unplug
from tests.faults.process_faults import RUN_WORKER, Kill, Pause, Restart, SlowDisk

_SERVERS = ("gateway", "nats", "postgres", "dagster-daemon", "dagster-code")
_PROCESSES = (*_SERVERS, "encoder", RUN_WORKER)
_SETTABLE_CLOCKS = ("gateway", "postgres", "dagster-daemon", "dagster-code")
_LONGEST_DAGSTER_STEP = 60
"""Where a daemon's clock was ahead and is set back, its sensors rest until it has caught up."""
_NETWORK = (Unplug, Flap, Deafen, Throttle)
_DRAWS = 30


@dataclass(frozen=True)
class PlanOptions:
    """How hard the faults are."""

    pause_between: float
    """Seconds from one fault's beginning to the next one's, on average."""
    longest: float
    """Seconds that a fault lasts at most."""
    longest_step: int = 2 * 86_400
    """Seconds that a clock is set ahead or back at most."""


def plan_faults(seed: int, *, seconds: float, options: PlanOptions) -> list[PlannedFault]:
    """Return the faults of a run that all end within `seconds`."""
    chance = random.Random(f"faults {seed}")
    plan: list[PlannedFault] = []
    active: list[tuple[float, Nemesis]] = []
    """(end, fault)"""
    now, last = 0.0, 0.0
    while True:
        now += chance.uniform(0.3, 1.7) * options.pause_between
        active = [(end, fault) for end, fault in active if end > now]
        fault = _draw(chance, options, [fault for _, fault in active])
        if fault is None:
            continue
        # It begins and ends with commands that take their time.
        if now + fault.seconds + 1 > seconds:
            return plan
        plan.append(PlannedFault(round(now - last, 3), fault))
        active.append((now + fault.seconds + 1, fault))
        last = now


def one_of_each(seed: int, *, options: PlanOptions) -> list[PlannedFault]:
    """Return one fault of every sort one after another, in an order and on targets by chance.

    The stop of a host is not among them.
    """
    chance = random.Random(f"each {seed}")
    faults = [
        make(chance, options.longest, options.longest_step)
        for _, make in _SORTS
        if make is not _stop_host
    ]
    chance.shuffle(faults)
    plan, pause = [], 1.0
    for fault in faults:
        plan.append(PlannedFault(pause, fault))
        pause = fault.seconds + options.pause_between
    return plan


def _draw(chance: random.Random, options: PlanOptions, active: Sequence[Nemesis]) -> Nemesis | None:
    """Return a fault that may come while `active` ones last, if one is found."""
    weights = [weight for weight, _ in _SORTS]
    for _attempt in range(_DRAWS):
        [(_, make)] = chance.choices(_SORTS, weights)
        fault = make(chance, options.longest, options.longest_step)
        if not any(_excludes(fault, other) for other in active):
            return fault
    return None


def _excludes(one: Nemesis, other: Nemesis) -> bool:
    """Tell whether two faults may not overlap."""
    # A gateway is not killed while its spool's disk is full: what it has answered then is in its
    # memory alone, as is documented. The rest of this would only undo each other.
    return (
        HostStop in (type(one), type(other))
        or one.target == other.target
        or (isinstance(one, _NETWORK) and isinstance(other, _NETWORK))
        or {RUN_WORKER, "dagster-code"} == {one.target, other.target}
    )


def _seconds(chance: random.Random, longest: float) -> float:
    return uniform(chance, 0.2, 1.0 if chance.random() < 0.4 else longest)


def _kill(chance: random.Random, longest: float, _step: int) -> Nemesis:
    return Kill(chance.choice(_PROCESSES), _seconds(chance, longest / 2))


def _restart(chance: random.Random, longest: float, _step: int) -> Nemesis:
    return Restart(chance.choice(_SERVERS), _seconds(chance, longest / 2))


def _pause(chance: random.Random, longest: float, _step: int) -> Nemesis:
    return Pause(chance.choice(_PROCESSES), uniform(chance, 1.0, longest))


def _unplug(chance: random.Random, longest: float, _step: int) -> Nemesis:
    return Unplug(chance.choice((COMPUTE, COMPUTE, DESKTOP)), uniform(chance, 1.0, longest))


def _flap(chance: random.Random, longest: float, _step: int) -> Nemesis:
    return Flap(chance.choice((COMPUTE, DESKTOP)), uniform(chance, 1.0, longest))


def _deafen(chance: random.Random, longest: float, _step: int) -> Nemesis:
    deaf, sender = chance.choice(((COMPUTE, DESKTOP), (DESKTOP, COMPUTE)))
    percent = chance.choice((20, 50, 100))
    return Deafen(deaf, uniform(chance, 1.0, longest), sender=sender, percent=percent)


def _throttle(chance: random.Random, longest: float, _step: int) -> Nemesis:
    seconds = uniform(chance, 1.0, longest)
    return Throttle(chance.choice((COMPUTE, DESKTOP)), seconds, kilobits=chance.choice((100, 1000)))


def _fill_disk(chance: random.Random, longest: float, _step: int) -> Nemesis:
    return FullDisk(chance.choice(("gateway", "nats", "postgres")), uniform(chance, 1.0, longest))


def _slow_disk(chance: random.Random, longest: float, _step: int) -> Nemesis:
    seconds = uniform(chance, 1.0, longest)
    return SlowDisk(chance.choice(("nats", "postgres")), seconds, delay=uniform(chance, 0.01, 0.3))


def _step_clock(chance: random.Random, longest: float, step: int) -> Nemesis:
    target = chance.choice(_SETTABLE_CLOCKS)
    if target.startswith("dagster"):
        step = min(step, _LONGEST_DAGSTER_STEP)
    offset = chance.choice((-1, 1)) * chance.choice((1, 10, chance.randint(11, step)))
    return ClockStep(target, uniform(chance, 1.0, longest), offset=offset)


def _stop_host(chance: random.Random, longest: float, _step: int) -> Nemesis:
    return HostStop(chance.choice((COMPUTE, DESKTOP)), _seconds(chance, longest / 2))


_SORTS: tuple[tuple[int, Callable[[random.Random, float, int], Nemesis]], ...] = (
    (30, _kill),
    (10, _restart),
    (15, _pause),
    (8, _unplug),
    (4, _flap),
    (5, _deafen),
    (3, _throttle),
    (8, _fill_disk),
    (6, _slow_disk),
    (9, _step_clock),
    (2, _stop_host),
)
"""(weight, maker)"""
