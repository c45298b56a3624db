"""Which models a backend serves by its settings, and what it calls them."""

import re
from dataclasses import dataclass

from contracts.settings import BackendSettings

_LONGEST_WILD_NAME = 512
"""Clients choose the names, and matching takes longer than a name is long."""


@dataclass(frozen=True)
class WildcardMatch:
    """A model that a wildcard covers."""

    backend_model: str
    """The backend's own name for it."""
    specificity: int
    """Characters of the wildcard name that are none: the more, the closer."""


class ModelNames:
    """The names, aliases and wildcards of one backend's settings."""

    def __init__(self, settings: BackendSettings) -> None:
        self._exact: dict[str, str] = {
            **{model: model for model in settings.models if "*" not in model},
            **{alias: own for alias, own in settings.aliases.items() if "*" not in alias},
        }
        patterns = [(model, None) for model in settings.models if "*" in model]
        wild_aliases = [(alias, own) for alias, own in settings.aliases.items() if "*" in alias]
        self._wildcards = [
            (_compile(pattern), own, len(pattern.replace("*", "")))
            for pattern, own in (*patterns, *wild_aliases)
        ]
        self._wildcards.sort(key=lambda wildcard: -wildcard[2])
        self.asks_server = not settings.models
        """Whether the server itself says what it serves."""
        self.lists_by_wildcard = bool(patterns)

    @property
    def exact(self) -> list[str]:
        """Every name that is no wildcard."""
        return sorted(self._exact)

    def find(self, model: str) -> str | None:
        """Return the backend's own name for `model` where the settings name it."""
        return self._exact.get(model)

    def match(self, model: str) -> WildcardMatch | None:
        """Return the closest wildcard that covers `model`."""
        if len(model) > _LONGEST_WILD_NAME:
            return None
        for pattern, own, specificity in self._wildcards:
            if (match := pattern.fullmatch(model)) is not None:
                name = model if own is None else own.replace("*", match.group(1))
                return WildcardMatch(name, specificity) if name else None
        return None


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
