"""Which of several backends gets a request."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.backends.http import HttpBackend, Standing


@dataclass(slots=True, eq=False)
class Candidate:
    """A backend that serves a model."""

    backend: HttpBackend
    model: str
    """The backend's own name for the model."""
    credit: float = 0.0
    """What it is owed of the turns so far."""

    @property
    def load(self) -> float:
        return self.backend.slots.in_flight / self.backend.settings.weight


def choose(candidates: Sequence[Candidate], by: Literal["least_busy", "weighted"]) -> Candidate:
    """Return the one whose turn it is: of the least busy, or of all.

    Turns are taken by smooth weighted round robin, as in nginx: with weights 3 and 1, a a b a.
    """
    if by == "least_busy" and len(candidates) > 1:
        least = min(candidate.load for candidate in candidates)
        candidates = [candidate for candidate in candidates if candidate.load == least]
    if len(candidates) == 1:
        return candidates[0]
    for candidate in candidates:
        candidate.credit += candidate.backend.settings.weight
    chosen = max(candidates, key=lambda candidate: candidate.credit)
    chosen.credit -= sum(candidate.backend.settings.weight for candidate in candidates)
    return chosen


def rank(candidates: Iterable[Candidate], now: float) -> list[list[Candidate]]:
    """Return those that may be tried in groups, the best first.

    The ready ones come by priority; whatever its priority, a doubtful one comes after them.
    """
    groups: dict[tuple[Standing, int], list[Candidate]] = {}
    for candidate in candidates:
        standing = candidate.backend.standing(now)
        if standing is not Standing.OUT:
            key = (standing, candidate.backend.settings.priority)
            groups.setdefault(key, []).append(candidate)
    return [groups[key] for key in sorted(groups)]
