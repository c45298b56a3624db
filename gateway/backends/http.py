"""A model server that speaks OpenAI's protocol over HTTP."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from enum import IntEnum
from time import monotonic
from typing import TypeVar

import msgspec

from contracts.headers import CORRELATION_ID, REQUEST_ID, TRACEPARENT
from contracts.settings import Api, BackendSettings, RoutingSettings
from gateway.backends.breaker import CircuitBreaker
from gateway.backends.http_answer import HttpAnswer
from gateway.backends.requests import BackendRequest
from gateway.backends.slots import MakeSlots, Slots
from gateway.coarse_timers import TimeLimit
from gateway.errors import BackendError
from gateway.request_context import RequestContext
from gateway.upstream.errors import ConnectFailed, ConnectionBroken
from gateway.upstream.origin import Target
from gateway.upstream.pool import UpstreamPool

_PASSED_ON_PREFIXES = (b"anthropic-", b"openai-")
_SECRET_WORDS = (b"key", b"token", b"secret", b"auth")
_ALWAYS_SPOKEN: frozenset[Api] = frozenset({"chat", "embeddings"})
_LONGEST_REST_SECONDS = 60.0
_HEALTH_PATHS = {"vllm": "/health", "llamacpp": "/health"}
_MODEL_LIST_SECONDS = 5.0
# Identity: what has no coding need not be undone, and events go on as they come.
_OWN_FIELDS = b"User-Agent: sluice-gateway\r\nAccept-Encoding: identity\r\n"
_JSON_FIELD = b"Content-Type: application/json\r\n"
_REQUEST_ID_FIELD = f"{REQUEST_ID}: ".encode()
_TRACEPARENT_FIELD = f"{TRACEPARENT}: ".encode()
_CORRELATION_FIELD = f"{CORRELATION_ID}: ".encode()

T = TypeVar("T")


class _ListedModel(msgspec.Struct):
    id: str
    created: int | None = None


class _ModelList(msgspec.Struct):
    data: list[_ListedModel]


_model_list_decoder = msgspec.json.Decoder(_ModelList)


class Standing(IntEnum):
    """Whether a request should go to a backend."""

    READY = 0
    DOUBTFUL = 1
    """It is said to be down, or asked for a pause: better than none."""
    OUT = 2
    """Its circuit breaker is open."""


@dataclass
class BackendCounters:
    """What has happened at one backend, under its name, since the start."""

    refused: Counter[str] = field(default_factory=Counter)
    """Requests that the gateway did not send, by reason."""
    retries: int = 0
    """Further tries of a request at the same backend."""
    failovers: int = 0
    """Requests that another backend got after this one had failed them."""


class HttpBackend:
    """One model server of the settings: how it is asked, and what is known of its state."""

    def __init__(
        self,
        settings: BackendSettings,
        pool: UpstreamPool,
        routing: RoutingSettings,
        *,
        slots: Slots | None = None,
        make_slots: MakeSlots = Slots.of_settings,
        counters: BackendCounters | None = None,
    ) -> None:
        """
        Args:
            slots: those of a backend that this one replaces at the same address.
            make_slots: makes them where there are none yet.
            counters: those of an earlier backend of the same name.
        """
        self.name = settings.name
        self.kind = settings.kind
        self.settings = settings
        self.slots = slots or make_slots(settings)
        self.breaker = CircuitBreaker(settings.name, routing)
        self.counters = counters or BackendCounters()
        self.is_up = True
        """False once its health checks fail."""
        self.has_answered = False
        """Whether a health check has found it up; until then, what it speaks is not known."""
        self.apis: frozenset[Api] = frozenset(settings.apis or _ALWAYS_SPOKEN)
        """What it speaks itself."""
        self._rests_until: float | None = None
        self._pool = pool
        self._targets: dict[str, tuple[Target, bytes]] = {}
        """By path: where a request goes, and how its head begins."""
        self._health_path = _HEALTH_PATHS.get(settings.kind, "/v1/models")
        own = Target(settings.base_url)
        authorization = own.credentials
        self._secret: bytes | None = None
        if settings.api_key is not None:
            key = settings.api_key.get_secret_value()
            authorization = f"Bearer {key}"
            self._secret = key.encode()
        self._own_fields = _OWN_FIELDS
        if authorization is not None:
            self._own_fields += f"Authorization: {authorization}\r\n".encode()

    def speaks(self, api: Api) -> bool:
        """Return whether a client's own bytes of this API may pass through."""
        return api in self.apis

    def found_apis(self, found: frozenset[Api]) -> bool:
        """Take note of what the server was found to speak; return whether that is new."""
        was, self.apis = self.apis, _ALWAYS_SPOKEN | found
        return self.apis != was

    def serves(self, api: Api) -> bool:
        """Return whether a client of this API can be answered, translated where need be."""
        return api in self.apis or (api != "embeddings" and "chat" in self.apis)

    @property
    def is_ready(self) -> bool:
        """Whether nothing speaks against a request."""
        return self.is_up and self.breaker.is_closed and self._rests_until is None

    def standing(self, now: float) -> Standing:
        """Return whether a request should go there; `now` in monotonic seconds."""
        if not self.breaker.admits(now):
            return Standing.OUT
        if self._rests_until is not None:
            if now < self._rests_until:
                return Standing.DOUBTFUL
            self._rests_until = None
        return Standing.READY if self.is_up else Standing.DOUBTFUL

    def fail(self) -> None:
        """Note that it could not be reached, broke off or fell silent."""
        self.breaker.fail(monotonic())

    def end(self, is_whole: bool) -> None:
        """Give back the place of a request; `is_whole` if its answer came to its end."""
        self.slots.release()
        if is_whole:
            self.breaker.succeed()

    def rest(self, seconds: float) -> None:
        """Prefer others for a while: the server asked for a pause."""
        self._rests_until = monotonic() + min(seconds, _LONGEST_REST_SECONDS)

    async def open(self, request: BackendRequest, context: RequestContext) -> HttpAnswer:
        """Send a request and return the answer once its stream has begun, or all of it is here.

        The client's own headers stay behind, its credentials above all, but those that steer
        the API (`anthropic-…`, `openai-…`). The backend gets this gateway's key, the correlation
        ID and the trace parent.

        Raises:
            BackendError: the server cannot be reached (502), ends its answer before it began
                (502) or does not begin it in time (504).
        """
        target, head = self._targets.get(request.path) or self._make_target(request.path)
        fields = [head, context.correlation_id.encode("ascii")]
        if (traceparent := context.backend_traceparent) is not None:
            fields += (b"\r\n", _TRACEPARENT_FIELD, traceparent.encode("ascii"))
        for name, value in context.headers.items():
            if name.startswith(_PASSED_ON_PREFIXES) and not _may_be_secret(name):
                if name.decode("latin-1") not in request.headers:
                    fields += (b"\r\n", name, b": ", value)
            elif name == b"x-request-id":
                fields += (b"\r\n", _REQUEST_ID_FIELD, value)
        for own_name, own_value in request.headers.items():
            fields.append(f"\r\n{own_name}: {own_value}".encode("latin-1"))
        fields.append(b"\r\nContent-Length: %d\r\n\r\n" % len(request.body))
        loop = asyncio.get_running_loop()
        first_byte_due = loop.time() + self.settings.first_byte_timeout_seconds
        response = await self._guard(
            self._pool.request(
                target,
                b"".join(fields),
                request.body,
                connect_seconds=self.settings.connect_timeout_seconds,
            ),
            deadline=first_byte_due,
        )
        answer = HttpAnswer(
            self.name,
            request.path,
            response,
            first_byte_due=first_byte_due,
            idle_timeout_seconds=self.settings.idle_timeout_seconds,
            secret=self._secret,
        )
        try:
            await answer.wait_for_beginning()
        except BaseException:
            answer.close()
            raise
        return answer

    async def list_models(self) -> dict[str, int]:
        """Ask the server which models it serves: model ID → moment of creation, Unix seconds.

        Raises:
            BackendError: it cannot be reached, refuses, or answers with something else.
        """
        status, body = await self._ask("GET", "/v1/models", _MODEL_LIST_SECONDS)
        self._require_ok("/v1/models", status)
        try:
            models = _model_list_decoder.decode(body)
        except msgspec.DecodeError as error:
            raise self.error("answered /v1/models with no list of models", "invalid") from error
        return {model.id: model.created or 0 for model in models.data}

    async def check_health(self, timeout_seconds: float) -> None:
        """Return if the server answers its health path.

        Raises:
            BackendError: it does not, or not in time.
        """
        status, _ = await self._ask("GET", self._health_path, timeout_seconds)
        self._require_ok(self._health_path, status)

    async def check_presence(self, timeout_seconds: float) -> None:
        """Return if the server answers its health path at all, be it that it knows no such path.

        Raises:
            BackendError: it does not, not in time, or with a failure of its own (5xx), as
                llama.cpp does while it loads its model.
        """
        status, _ = await self._ask("GET", self._health_path, timeout_seconds)
        if status >= 500:
            self._require_ok(self._health_path, status)

    async def post_empty(self, path: str, timeout_seconds: float) -> tuple[int, bytes]:
        """Post an empty JSON object; return the answer's status and body. Raises BackendError."""
        return await self._ask("POST", path, timeout_seconds, body=b"{}")

    def _make_target(self, path: str) -> tuple[Target, bytes]:
        target = Target(f"{self.settings.base_url}{path}")
        head = target.head("POST") + self._own_fields + _JSON_FIELD + _CORRELATION_FIELD
        made = self._targets[path] = (target, head)
        return made

    async def _ask(
        self, method: str, path: str, timeout_seconds: float, *, body: bytes | None = None
    ) -> tuple[int, bytes]:
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        target = Target(f"{self.settings.base_url}{path}")
        head = target.head(method) + self._own_fields
        if body is not None:
            head += _JSON_FIELD + b"Content-Length: %d\r\n" % len(body)
        response = await self._guard(
            self._pool.request(
                target,
                head + b"\r\n",
                body or b"",
                connect_seconds=self.settings.connect_timeout_seconds,
            ),
            deadline=deadline,
        )
        try:
            return response.status, await self._guard(response.read_all(), deadline=deadline)
        finally:
            response.close()

    def _require_ok(self, path: str, status: int) -> None:
        if status != 200:
            raise self.error(f"answered {path} with status {status}", "invalid")

    async def _guard(self, operation: Awaitable[T], *, deadline: float) -> T:
        """Await `operation` until `deadline` (event loop time) and name what went wrong."""
        try:
            with TimeLimit(deadline):
                return await operation
        except TimeoutError as error:
            raise self.error("did not answer in time", "timeout", status=504) from error
        except ConnectFailed as error:
            raise self.error(f"cannot be reached: {error}", "unreachable") from error
        except ConnectionBroken as error:
            raise self.error("closed the connection", "broken") from error

    def error(self, what: str, reason: str, *, status: int = 502) -> BackendError:
        """Return the error that says `what` this backend did."""
        return BackendError.of(self.name, what, reason, status=status)


def _may_be_secret(name: bytes) -> bool:
    return any(word in name for word in _SECRET_WORDS)
