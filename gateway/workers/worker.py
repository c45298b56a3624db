"""One of the processes that serve the gateway's port."""

from dataclasses import dataclass, field

from gateway.access.rate_limits import LevelTable, LocalLevels
from gateway.backends.slots import MakeSlots, Slots


@dataclass(frozen=True)
class Worker:
    """Which process this is, and what it shares with the others."""

    index: int = 0
    """Counted from 0; a process that takes the place of a dead one has its number."""
    count: int = 1
    levels: LevelTable = field(default_factory=LocalLevels)
    """What is used of the API keys' limits."""
    make_slots: MakeSlots = Slots.of_settings
    """Makes the places of a backend."""

    @property
    def is_only(self) -> bool:
        return self.count == 1


ONLY_WORKER = Worker()
