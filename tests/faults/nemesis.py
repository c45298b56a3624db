"""Faults: each is begun, lasts for a while, and ends itself."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.history import Fault, HistoryFile
from tests.faults.topology import ThreeHosts


@dataclass(frozen=True)
class Nemesis(ABC):
    """One fault that a target suffers for some seconds."""

    target: str
    """A part or a host."""
    seconds: float

    @property
    @abstractmethod
    def name(self) -> str:
        """What is done to the target, in a word."""

    @property
    def detail(self) -> str:
        """What else there is to say of it."""
        return ""

    @abstractmethod
    async def begin(self, platform: ThreeHosts) -> None:
        """Cause the fault."""

    async def last(self, platform: ThreeHosts) -> None:
        """Let the fault be for its time."""
        await asyncio.sleep(self.seconds)

    @abstractmethod
    async def end(self, platform: ThreeHosts) -> None:
        """Take it back; it is safe to call where `begin` failed half-way."""

    async def inflict(self, platform: ThreeHosts, history: HistoryFile) -> None:
        """Cause the fault, wait, take it back."""
        fault = {"fault": self.name, "target": self.target}
        detail = f"{self.detail} {self.seconds:.1f} s".strip()
        history.append(Fault, **fault, phase="start", detail=detail)
        try:
            await self.begin(platform)
            await self.last(platform)
        finally:
            await self.end(platform)
            history.append(Fault, **fault, phase="stop")


@dataclass(frozen=True)
class PlannedFault:
    """A fault and when it comes."""

    after: float
    """Seconds since the one before began."""
    nemesis: Nemesis


async def inflict_all(
    plan: Sequence[PlannedFault], platform: ThreeHosts, history: HistoryFile
) -> None:
    """Inflict the faults of a plan at their moments, several at once where they overlap."""
    async with asyncio.TaskGroup() as faults:
        for planned in plan:
            await asyncio.sleep(planned.after)
            faults.create_task(planned.nemesis.inflict(platform, history))


def uniform(chance: random.Random, low: float, high: float) -> float:
    """Return a number between the two, short enough to be read."""
    return round(chance.uniform(low, high), 2)
