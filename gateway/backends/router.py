"""Finds the backends that serve a model."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.settings import BackendSettings, RoutingSettings
from gateway.backends.catalog import ModelCatalog
from gateway.backends.choice import Candidate
from gateway.backends.http import BackendCounters, HttpBackend
from gateway.backends.model_names import ModelNames
from gateway.backends.monitor import BackendMonitor
from gateway.backends.route import ModelRoute
from gateway.backends.slots import MakeSlots, Slots
from gateway.errors import BackendError, ModelNotFound
from gateway.upstream.pool import UpstreamPool

_MOST_ROUTES = 1000
"""Kept ready: with wildcards there may be as many names as clients think of."""


@dataclass(frozen=True)
class ServedModel:
    """An entry of the list of models."""

    model_id: str
    created: int
    """Unix seconds; 0 where the server does not say."""
    owner: str


@dataclass(frozen=True)
class _Member:
    """A backend, and what is known of its models."""

    backend: HttpBackend
    names: ModelNames
    catalog: ModelCatalog | None
    """None where the settings name every model."""
    monitor: BackendMonitor

    @property
    def listed(self) -> dict[str, int]:
        return {} if self.catalog is None else self.catalog.models

    def find(self, model: str) -> str | None:
        """Return the backend's name for a model that it is known to serve."""
        own = self.names.find(model)
        if own is None and self.names.asks_server and model in self.listed:
            return model
        return own

    def served(self) -> dict[str, int]:
        """Return what can be asked for by name: model ID → Unix seconds of creation."""
        models = {name: self.listed.get(name, 0) for name in self.names.exact}
        listed = {
            model: created
            for model, created in self.listed.items()
            if self.names.asks_server or self.names.match(model) is not None
        }
        return models | listed

    def start(self) -> None:
        self.monitor.start()

    def close(self) -> None:
        self.monitor.close()
        if self.catalog is not None:
            self.catalog.close()


class BackendRouter:
    """Finds by name: of the settings, of an alias or in a server's list; else by wildcard.

    All backends that know a model by name serve it together. If none does, those whose wildcard
    fits closest do, and of these only those whose server lists the model if any does.
    """

    def __init__(
        self,
        backends: Sequence[BackendSettings],
        pool: UpstreamPool,
        settings: RoutingSettings,
        make_slots: MakeSlots = Slots.of_settings,
    ) -> None:
        self._pool = pool
        self._make_slots = make_slots
        self._settings = settings
        self._routes: dict[str, ModelRoute] = {}
        self._counters: dict[str, BackendCounters] = {}
        self._is_running = False
        self._members = [self._make_member(each, None) for each in backends]

    @property
    def is_empty(self) -> bool:
        """Whether no backend is configured."""
        return not self._members

    @property
    def backends(self) -> list[HttpBackend]:
        return [member.backend for member in self._members]

    def start(self) -> None:
        """Begin to watch the backends, in the background."""
        self._is_running = True
        for member in self._members:
            member.start()

    def close(self) -> None:
        for member in self._members:
            member.close()

    def replace(self, backends: Sequence[BackendSettings]) -> None:
        """Serve by these backends from now on; calls that run or wait go on with the old ones.

        A backend whose settings are the same stays as it is. One that is changed keeps its
        counters, and at the same address the places that its calls have taken.
        """
        old = {member.backend.name: member for member in self._members}
        members = []
        for settings in backends:
            before = old.get(settings.name)
            if before is not None and before.backend.settings == settings:
                members.append(before)
            else:
                members.append(self._make_member(settings, before))
        self._members = members
        self._routes.clear()
        for member in old.values():
            if member not in members:
                member.close()
        if self._is_running:
            for member in members:
                if member not in old.values():
                    member.start()

    async def route(self, model: str) -> ModelRoute:
        """Return the way to the backends of `model`.

        Raises:
            ModelNotFound: nobody serves it.
            BackendError: a server that might serve it has not told its models yet.
        """
        if (route := self._routes.get(model) or self._make_route(model)) is not None:
            return route
        members: list[_Member] = []
        while members is not self._members:
            # They may be replaced while their servers are asked.
            members = self._members
            asking = [member for member in members if member.names.asks_server]
            await asyncio.gather(*(each.catalog.ask_again() for each in asking if each.catalog))
            if (route := self._make_route(model)) is not None:
                return route
        for member in members:
            catalog = member.catalog
            if member.names.asks_server and catalog is not None and not catalog.is_known:
                raise BackendError(
                    f"The backend {member.backend.name!r} could not be asked whether it serves"
                    f" the model {model!r}, and no other backend does.",
                    status=503,
                    backend=member.backend.name,
                    reason="unreachable",
                )
        raise ModelNotFound(model, [served.model_id for served in self._served()])

    async def served_models(self) -> list[ServedModel]:
        """Return every model that can be asked for by name, each once."""
        await asyncio.gather(
            *(
                member.catalog.ask_again()
                for member in self._members
                if member.catalog is not None and not member.catalog.is_known
            )
        )
        return self._served()

    def _make_member(self, settings: BackendSettings, before: _Member | None) -> _Member:
        counters = self._counters.setdefault(settings.name, BackendCounters())
        slots = None
        if before is not None and before.backend.settings.base_url == settings.base_url:
            slots = before.backend.slots
            slots.change_limit(settings.max_concurrency, settings.max_queued)
        backend = HttpBackend(
            settings,
            self._pool,
            self._settings,
            slots=slots,
            make_slots=self._make_slots,
            counters=counters,
        )
        names = ModelNames(settings)
        catalog = None
        if names.asks_server or names.lists_by_wildcard:
            catalog = ModelCatalog(backend, self._routes.clear)
        monitor = BackendMonitor(backend, catalog, self._settings)
        return _Member(backend, names, catalog, monitor)

    def _make_route(self, model: str) -> ModelRoute | None:
        candidates = self._find_named(model) or self._find_by_wildcard(model)
        if not candidates:
            return None
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        route = self._routes[model] = ModelRoute(model, candidates, self._settings)
        return route

    def _find_named(self, model: str) -> list[Candidate]:
        return [
            Candidate(member.backend, own)
            for member in self._members
            if (own := member.find(model)) is not None
        ]

    def _find_by_wildcard(self, model: str) -> list[Candidate]:
        matches = [
            (member, match)
            for member in self._members
            if (match := member.names.match(model)) is not None
        ]
        closest = max((match.specificity for _, match in matches), default=0)
        matches = [(member, match) for member, match in matches if match.specificity == closest]
        listing = [each for each in matches if each[1].backend_model in each[0].listed]
        return [
            Candidate(member.backend, match.backend_model) for member, match in listing or matches
        ]

    def _served(self) -> list[ServedModel]:
        served: dict[str, ServedModel] = {}
        for member in self._members:
            for model, created in member.served().items():
                served.setdefault(model, ServedModel(model, created, member.backend.name))
        return list(served.values())
