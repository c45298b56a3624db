"""What may happen to a host's network: unplugged, deaf to another host, lossy, slow."""

import asyncio
from dataclasses import dataclass

from tests.faults.nemesis import Nemesis
from tests.faults.topology import ThreeHosts


@dataclass(frozen=True)
class Unplug(Nemesis):
    """A host's link is down: nobody reaches it, and it reaches nobody."""

    name = "cut"

    async def begin(self, platform: ThreeHosts) -> None:
        platform.network.unplug(self.target)

    async def end(self, platform: ThreeHosts) -> None:
        platform.network.plug(self.target)


@dataclass(frozen=True)
class Flap(Nemesis):
    """A host's link goes down and up, again and again."""

    name = "flap"

    async def begin(self, platform: ThreeHosts) -> None:
        platform.network.unplug(self.target)

    async def last(self, platform: ThreeHosts) -> None:
        for _round in range(round(self.seconds)):
            await asyncio.sleep(0.4)
            platform.network.plug(self.target)
            await asyncio.sleep(0.6)
            platform.network.unplug(self.target)

    async def end(self, platform: ThreeHosts) -> None:
        platform.network.plug(self.target)


@dataclass(frozen=True)
class Deafen(Nemesis):
    """A host loses what one other sends, while the other still hears it: a partition one way."""

    sender: str = ""
    percent: int = 100

    @property
    def name(self) -> str:
        return "loss" if self.percent < 100 else "one-way cut"

    @property
    def detail(self) -> str:
        return f"{self.percent} % of what {self.sender} sends,"

    async def begin(self, platform: ThreeHosts) -> None:
        platform.network.drop_incoming(self.target, sender=self.sender, percent=self.percent)

    async def end(self, platform: ThreeHosts) -> None:
        platform.network.accept_incoming(self.target)


@dataclass(frozen=True)
class Throttle(Nemesis):
    """What is sent to a host passes slowly, and waits in line."""

    name = "slow network"
    kilobits: int = 200

    @property
    def detail(self) -> str:
        return f"{self.kilobits} kbit/s,"

    async def begin(self, platform: ThreeHosts) -> None:
        platform.network.throttle(self.target, self.kilobits)

    async def end(self, platform: ThreeHosts) -> None:
        platform.network.unthrottle(self.target)


@dataclass(frozen=True)
class HostStop(Nemesis):
    """A host is shut down, and started again."""

    name = "host stop"

    async def begin(self, platform: ThreeHosts) -> None:
        await platform.stop_host(self.target)

    async def end(self, platform: ThreeHosts) -> None:
        for part in platform.parts_of(self.target):
            part.release()
