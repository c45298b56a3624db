"""The way from a model's name to a backend that answers."""

from collections.abc import Callable, Sequence

from gateway.backends.answers import BackendAnswer
from gateway.backends.http import HttpBackend
from gateway.backends.requests import Api, BackendRequest
from gateway.request_context import RequestContext

BuildRequest = Callable[[HttpBackend, str], BackendRequest]
"""Makes the request for a backend, given that backend's own name for the model."""


class ModelRoute:
    """The backends that serve one model, best first."""

    def __init__(self, model: str, candidates: Sequence[HttpBackend]) -> None:
        self._model = model
        self._candidates = candidates

    @property
    def backend(self) -> str:
        """Name of the backend that is tried first."""
        return self._candidates[0].name

    @property
    def context_length(self) -> int:
        """Tokens that fit whichever backend answers."""
        return min(backend.settings.context_length for backend in self._candidates)

    async def open(self, build: BuildRequest, context: RequestContext, api: Api) -> BackendAnswer:
        """Return a backend's answer, an error of its own included.

        Args:
            build: called for each attempt; may look whether the backend speaks the API itself.
            api: what the client speaks.

        Raises:
            BackendError: no backend answers.
        """
        backend = self._candidates[0]
        return await backend.open(build(backend, self._model), context)
