"""What the caller of a request may do, by the API key it came with."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from contracts.events import ContentCapture
from gateway.access.errors import CollectionNotAllowed, ModelNotAllowed
from knowledge.ports import SearchFilters


@dataclass(frozen=True, slots=True)
class Grant:
    """The rights of one API key."""

    key_id: str
    key_name: str
    content_capture: ContentCapture = "full"
    """What events hold of messages, answers, tool arguments and queries."""
    matches_model: Callable[[str], object] | None = None
    """Truthy for a model that may be used; None: any."""
    collections: tuple[str, ...] | None = None
    """Those that may be searched; None: any."""

    def allows_model(self, model: str) -> bool:
        return self.matches_model is None or bool(self.matches_model(model))

    def require_model(self, model: str) -> None:
        """Return if `model` may be used.

        Raises:
            ModelNotAllowed: it may not.
        """
        if not self.allows_model(model):
            raise ModelNotAllowed(model, self.key_name)

    def narrow(self, filters: SearchFilters) -> SearchFilters:
        """Return `filters` within the collections that may be searched.

        Raises:
            CollectionNotAllowed: they name another one.
        """
        if self.collections is None:
            return filters
        for collection in filters.collections:
            if collection not in self.collections:
                raise CollectionNotAllowed(collection, self.key_name)
        if filters.collections:
            return filters
        return replace(filters, collections=self.collections)
