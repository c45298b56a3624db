"""What may happen to the machine under a part: its disk is full, its clock is set."""

from dataclasses import dataclass

from tests.faults.nemesis import Nemesis
from tests.faults.topology import ThreeHosts


@dataclass(frozen=True)
class FullDisk(Nemesis):
    """The disk with the part's data has no room left."""

    name = "full disk"

    async def begin(self, platform: ThreeHosts) -> None:
        platform.disks[self.target].fill()

    async def end(self, platform: ThreeHosts) -> None:
        platform.disks[self.target].empty()


@dataclass(frozen=True)
class ClockStep(Nemesis):
    """The part's clock jumps, and after `seconds` it jumps back."""

    name = "clock step"
    offset: int = 60
    """Seconds; negative: into the past."""

    @property
    def detail(self) -> str:
        return f"by {self.offset:+d} s,"

    async def begin(self, platform: ThreeHosts) -> None:
        self._set(platform, self.offset)

    async def end(self, platform: ThreeHosts) -> None:
        self._set(platform, 0)

    def _set(self, platform: ThreeHosts, offset: int) -> None:
        clock = platform.parts[self.target].clock
        if clock is None:
            raise ValueError(f"the clock of {self.target} cannot be set")
        clock.set_offset(offset)
