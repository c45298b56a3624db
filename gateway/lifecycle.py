"""Whether this process takes requests, as `/readyz` says it."""

from dataclasses import dataclass

READY = "ready"


@dataclass
class Lifecycle:
    """Written by the server, read by the endpoint."""

    has_started: bool = False
    is_stopping: bool = False

    @property
    def state(self) -> str:
        """`starting`, `ready` or `stopping`."""
        if self.is_stopping:
            return "stopping"
        return READY if self.has_started else "starting"
