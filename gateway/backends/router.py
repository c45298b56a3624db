"""Finds the backend that serves a model."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.settings import BackendSettings
from gateway.backends.catalog import ModelCatalog
from gateway.backends.http import HttpBackend
from gateway.backends.route import ModelRoute
from gateway.backends.session import BackendSession
from gateway.errors import BackendError, ModelNotFound


@dataclass(frozen=True)
class ServedModel:
    """An entry of the list of models."""

    model_id: str
    created: int
    """Unix seconds; 0 where the server does not say."""
    owner: str


@dataclass
class _Route:
    backend: HttpBackend
    names: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]
    catalog: ModelCatalog | None = field(default=None)
    """None where the settings name every model."""

    def matches_pattern(self, model: str) -> bool:
        return any(pattern.fullmatch(model) for pattern in self.patterns)

    @property
    def asks_server(self) -> bool:
        return not self.names and not self.patterns

    def served(self) -> dict[str, int]:
        models = dict.fromkeys(sorted(self.names), 0)
        if self.catalog is not None:
            for model, created in self.catalog.models().items():
                if self.asks_server or model in self.names or self.matches_pattern(model):
                    models[model] = created
        return models


class BackendRouter:
    """Chooses by model name, in the order of the settings: names first, then wildcards."""

    def __init__(self, backends: Sequence[BackendSettings], session: BackendSession) -> None:
        self.backends = [HttpBackend(settings, session) for settings in backends]
        self._routes = [_route_of(backend) for backend in self.backends]
        self._by_name: dict[str, HttpBackend] = {}
        for route in self._routes:
            for name in route.names:
                self._by_name.setdefault(name, route.backend)

    @property
    def is_empty(self) -> bool:
        """Whether no backend is configured."""
        return not self._routes

    async def route(self, model: str) -> ModelRoute:
        """Return the way to the backends of `model`.

        Raises:
            ModelNotFound: nobody serves it.
            BackendError: a server that might serve it has not told its models yet.
        """
        return ModelRoute(model, [await self._choose(model)])

    async def _choose(self, model: str) -> HttpBackend:
        backend = self._by_name.get(model) or self._listed(model)
        if backend is not None:
            return backend
        for route in self._routes:
            if route.matches_pattern(model):
                return route.backend
        asking = [route.catalog for route in self._routes if route.asks_server and route.catalog]
        if asking:
            await asyncio.gather(*(catalog.ask_again() for catalog in asking))
            if (backend := self._listed(model)) is not None:
                return backend
        for route in self._routes:
            if route.asks_server and route.catalog and not route.catalog.is_known:
                raise BackendError(
                    f"The backend {route.backend.name!r} could not be asked whether it serves"
                    f" the model {model!r}, and no other backend does.",
                    status=503,
                    backend=route.backend.name,
                    reason="unreachable",
                )
        raise ModelNotFound(model, [served.model_id for served in self._served()])

    async def served_models(self) -> list[ServedModel]:
        """Return every model that can be asked for by name, each once."""
        await asyncio.gather(
            *(
                route.catalog.ask_again()
                for route in self._routes
                if route.catalog is not None and not route.catalog.is_known
            )
        )
        return self._served()

    def start(self) -> None:
        """Begin to ask the servers for their models, in the background."""
        for route in self._routes:
            if route.catalog is not None:
                route.catalog.models()

    def close(self) -> None:
        for route in self._routes:
            if route.catalog is not None:
                route.catalog.close()

    def _listed(self, model: str) -> HttpBackend | None:
        for route in self._routes:
            if route.asks_server and route.catalog and model in route.catalog.models():
                return route.backend
        return None

    def _served(self) -> list[ServedModel]:
        served: dict[str, ServedModel] = {}
        for route in self._routes:
            for model, created in route.served().items():
                served.setdefault(model, ServedModel(model, created, route.backend.name))
        return list(served.values())


def _route_of(backend: HttpBackend) -> _Route:
    names = frozenset(model for model in backend.settings.models if "*" not in model)
    patterns = tuple(
        re.compile(".*".join(re.escape(part) for part in model.split("*")))
        for model in backend.settings.models
        if "*" in model
    )
    has_catalog = not names or bool(patterns)
    return _Route(backend, names, patterns, ModelCatalog(backend) if has_catalog else None)
