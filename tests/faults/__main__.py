"""`python -m tests.faults [--seed N] [--minutes M]`: the long form, for `make test-faults`."""

import argparse
import asyncio
import json
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.faults.checker import Verdict
from tests.faults.outage import Outages
from tests.faults.plan import PlanOptions, one_of_each, plan_faults
from tests.faults.requirements import missing_requirement
from tests.faults.soak import SoakOptions, soak

_FIXED_SEED = 20
"""Of the short form's faults that are always the same."""


def main() -> int:
    """Run and print the verdict; 1 where the promise was broken, 2 where it cannot be tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second")
    parser.add_argument("--pause-between", type=float, default=8.0, help="seconds between faults")
    parser.add_argument("--longest", type=float, default=30.0, help="seconds of a fault")
    parser.add_argument("--settle-minutes", type=float, default=10.0)
    parser.add_argument("--short", action="store_true", help="a minute of faults, of every sort")
    parser.add_argument("--folder", type=Path, help="for data and logs; default: a new one")
    parser.add_argument("--result", type=Path, help="file for the verdict, as JSON")
    arguments = parser.parse_args()
    reason = missing_requirement()
    if reason is not None:
        print(f"faults cannot be made here: {reason}")
        return 2
    run = short_form(arguments.seed) if arguments.short else _long_form(arguments)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="sluice-faults-"))
    say = _Clock().say
    say(f"seed {run.seed}: {len(run.plan)} faults, {run.rate:g} calls a second; {folder}")
    verdict = asyncio.run(_until_terminated(soak(folder, run, say=say)))
    _report(verdict, arguments.result)
    return 0 if verdict.is_kept else 1


def _long_form(arguments: argparse.Namespace) -> SoakOptions:
    options = PlanOptions(pause_between=arguments.pause_between, longest=arguments.longest)
    return SoakOptions(
        seed=arguments.seed,
        plan=plan_faults(arguments.seed, seconds=arguments.minutes * 60, options=options),
        outages=Outages(cut_seconds=60.0, down_seconds=20.0),
        rate=arguments.rate,
        settle_seconds=arguments.settle_minutes * 60,
        has_ui=True,
        ack_wait_seconds=60.0,
        telemetry_max_bytes=512 * 1024,
    )


def short_form(seed: int) -> SoakOptions:
    """Return a minute of load with every sort of fault, always the same, and some by `seed`."""
    options = PlanOptions(pause_between=0.5, longest=2.0, longest_step=600)
    by_chance = PlanOptions(pause_between=2.0, longest=3.0, longest_step=600)
    return SoakOptions(
        seed=seed,
        plan=[
            *one_of_each(_FIXED_SEED, options=options),
            *plan_faults(seed, seconds=12.0, options=by_chance),
        ],
        outages=Outages(cut_seconds=8.0, down_seconds=2.0),
        rate=12.0,
        settle_seconds=300.0,
        has_ui=False,
        ack_wait_seconds=15.0,
        telemetry_max_bytes=24 * 1024,
    )


async def _until_terminated(work: Coroutine[Any, Any, Verdict]) -> Verdict:
    """Await `work`; where this process is told to end, it takes down what it has set up."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


class _Clock:
    def __init__(self) -> None:
        self._started = time.monotonic()

    def say(self, line: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"{time.monotonic() - self._started:7.1f} s  {line}", flush=True)


def _report(verdict: Verdict, result: Path | None) -> None:
    text = json.dumps(verdict.summary(), indent=2)
    print(text)
    if result is not None:
        result.write_text(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
