"""The way from a model's name to a backend that answers."""

import asyncio
import random
from collections.abc import Callable, Sequence
from time import monotonic

from contracts.settings import Api, RoutingSettings
from gateway.backends.answers import BackendAnswer
from gateway.backends.choice import Candidate, choose, rank
from gateway.backends.http import HttpBackend, Standing
from gateway.backends.http_answer import HttpAnswer
from gateway.backends.requests import BackendRequest
from gateway.backends.slots import QueueTimeout, Waiter
from gateway.errors import (
    INVALID_REQUEST,
    BackendBusy,
    BackendError,
    BackendOutOfUse,
    BackendQueueTimeout,
    GatewayError,
)
from gateway.request_context import RequestContext

BuildRequest = Callable[[HttpBackend, str], BackendRequest]
"""Makes the request for a backend, given that backend's own name for the model."""

_PASSING = frozenset({429, 502, 503, 504})
"""Statuses that say nothing against the request: another try may succeed."""
_FAILURES = frozenset({502, 503, 504})
"""Those of them that speak against the backend."""
_LONGEST_BACKOFF_SECONDS = 5.0


class ModelRoute:
    """The backends that serve one model."""

    def __init__(
        self, model: str, candidates: Sequence[Candidate], settings: RoutingSettings
    ) -> None:
        """
        Args:
            candidates: at least one.
        """
        self._model = model
        self._candidates = sorted(candidates, key=lambda each: each.backend.settings.priority)
        self._settings = settings
        self._is_restricted = any(each.backend.settings.apis for each in candidates)
        self.context_length = min(each.backend.settings.context_length for each in candidates)
        """Tokens that fit whichever backend answers."""

    @property
    def backend(self) -> str:
        """Name of a backend of the route, until one has answered."""
        return self._candidates[0].backend.name

    async def open(self, build: BuildRequest, context: RequestContext, api: Api) -> BackendAnswer:
        """Return a backend's answer, a refusal of its own included, once its body has begun.

        A try that fails before that is repeated, at another backend if there is one. The answer
        must be closed.

        Args:
            build: called for each try; may look whether the backend speaks the API itself.
            api: what the client speaks.

        Raises:
            BackendError: no backend answers, or none takes the request.
            GatewayError: 400, no backend of the model serves the API.
        """
        candidates = self._serving(api) if self._is_restricted else self._candidates
        tries: _Tries | None = None
        candidate = self._take_only(candidates) or await self._find_place(candidates, ())
        started = monotonic()
        while True:
            outcome = await _try(candidate, build, context)
            if not isinstance(outcome, BackendError) and outcome.status not in _PASSING:
                return outcome
            if tries is None:
                tries = _Tries(self._settings, started)
            delay = tries.delay_after(candidate, outcome, candidates, api)
            if isinstance(outcome, BackendError):
                if delay is None:
                    raise outcome
            elif delay is None:
                return outcome
            else:
                outcome.close()
            if delay:
                await asyncio.sleep(delay)
            candidate = await self._find_place(candidates, tries.failed)

    def _serving(self, api: Api) -> Sequence[Candidate]:
        serving = [each for each in self._candidates if each.backend.serves(api)]
        if not serving:
            spoken = sorted({api for each in self._candidates for api in each.backend.apis})
            raise GatewayError(
                f"The model {self._model!r} cannot be asked for {api}: its backends speak"
                f" {', '.join(spoken)}.",
                status=400,
                error_type=INVALID_REQUEST,
                code="unsupported_api",
                param="model",
            )
        return serving

    @staticmethod
    def _take_only(candidates: Sequence[Candidate]) -> Candidate | None:
        """Take a place where there is no choice and no obstacle, which is the common case."""
        if len(candidates) == 1:
            backend = candidates[0].backend
            if backend.is_ready and backend.slots.take():
                return candidates[0]
        return None

    async def _find_place(
        self, candidates: Sequence[Candidate], failed: Sequence[Candidate]
    ) -> Candidate:
        while True:
            now = monotonic()
            groups = rank((each for each in candidates if each not in failed), now)
            if not groups:
                raise _out_of_use(candidates, now)
            candidate = await self._place_in(groups)
            backend = candidate.backend
            # It may have been taken out of use while the request waited.
            now = monotonic()
            if backend.standing(now) is not Standing.OUT:
                backend.breaker.begin(now)
                return candidate
            backend.slots.release()

    async def _place_in(self, groups: Sequence[Sequence[Candidate]]) -> Candidate:
        """Take a place in the first group that has one, or else that has room in its queues."""
        for group in groups:
            free = [each for each in group if each.backend.slots.has_room]
            while free:
                candidate = choose(free, self._settings.choice)
                if candidate.backend.slots.take():
                    return candidate
                # Another worker was faster.
                free.remove(candidate)
            queues = [each for each in group if each.backend.slots.has_queue_room]
            if queues:
                return await _wait_for_place(queues)
        busy = min(
            (each.backend for group in groups for each in group),
            key=lambda backend: backend.slots.estimate_wait(),
        )
        busy.counters.refused["queue_full"] += 1
        raise BackendBusy(busy.name, busy.slots.estimate_wait())


class _Tries:
    """What has been tried for one request."""

    def __init__(self, settings: RoutingSettings, started: float) -> None:
        self.failed: list[Candidate] = []
        """Not to be tried again as long as there are others."""
        self._settings = settings
        self._started = started
        self._count = 0
        self._broken = 0

    def delay_after(
        self,
        candidate: Candidate,
        outcome: HttpAnswer | BackendError,
        candidates: Sequence[Candidate],
        api: Api,
    ) -> float | None:
        """Return the seconds until the next try; None if there shall be none."""
        self._count += 1
        self.failed.append(candidate)
        now = monotonic()
        left = self._settings.retry_seconds - (now - self._started)
        if self._count >= self._settings.attempts or left <= 0:
            return None
        if isinstance(outcome, BackendError):
            is_broken = outcome.reason != "unreachable"
            self._broken += is_broken
            # The server may have begun to work. Doing that twice is harmless, unless the work has
            # effects; but a request that kills servers must not be handed on to all of them.
            if is_broken and (api == "responses" or self._broken > 1):
                return None
        if any(_is_alternative(each, now) for each in candidates if each not in self.failed):
            candidate.backend.counters.failovers += 1
            return 0.0
        if isinstance(outcome, BackendError) and outcome.reason == "timeout":
            return None
        delay = self._backoff()
        if isinstance(outcome, HttpAnswer):
            delay = max(delay, outcome.retry_after_seconds or 0.0)
        is_usable = any(each.backend.standing(now) is not Standing.OUT for each in candidates)
        if delay > left or not is_usable:
            return None
        self.failed.clear()
        candidate.backend.counters.retries += 1
        return delay

    def _backoff(self) -> float:
        doubled = self._settings.backoff_seconds * 2.0 ** (self._count - 1)
        return min(doubled, _LONGEST_BACKOFF_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311


async def _try(
    candidate: Candidate, build: BuildRequest, context: RequestContext
) -> HttpAnswer | BackendError:
    """Send the request; the place that was taken goes over to the answer, or is given back."""
    backend = candidate.backend
    try:
        answer = await backend.open(build(backend, candidate.model), context)
    except BackendError as error:
        backend.slots.release()
        backend.fail()
        return error
    except BaseException:
        backend.slots.release()
        raise
    if answer.status in _FAILURES:
        backend.fail()
        answer.on_close = lambda _is_whole: backend.slots.release()
    else:
        backend.breaker.pass_trial()
        answer.on_failure = backend.fail
        answer.on_close = backend.end
    if answer.status in _PASSING and (pause := answer.retry_after_seconds) is not None:
        backend.rest(pause)
    return answer


async def _wait_for_place(group: Sequence[Candidate]) -> Candidate:
    waiter = Waiter(each.backend.slots for each in group)
    seconds = max(each.backend.settings.queue_timeout_seconds for each in group)
    try:
        granted = await waiter.wait(seconds)
    except QueueTimeout:
        backend = group[0].backend
        backend.counters.refused["queue_timeout"] += 1
        raise BackendQueueTimeout(backend.name, seconds, backend.slots.estimate_wait()) from None
    return next(each for each in group if each.backend.slots is granted)


def _is_alternative(candidate: Candidate, now: float) -> bool:
    backend = candidate.backend
    return backend.standing(now) is not Standing.OUT and (
        backend.slots.has_room or backend.slots.has_queue_room
    )


def _out_of_use(candidates: Sequence[Candidate], now: float) -> BackendError:
    soonest = min(
        (each.backend for each in candidates),
        key=lambda backend: backend.breaker.seconds_until_trial(now),
    )
    soonest.counters.refused["out_of_use"] += 1
    return BackendOutOfUse(soonest.name, soonest.breaker.seconds_until_trial(now))
