"""A model server that speaks OpenAI's protocol over HTTP."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import aiohttp
import msgspec
from aiohttp import ClientResponse, ClientTimeout
from yarl import URL

from contracts.headers import CORRELATION_ID, REQUEST_ID, TRACEPARENT
from contracts.settings import BackendSettings
from gateway.backends.requests import Api, BackendRequest
from gateway.backends.session import BackendSession
from gateway.errors import BackendError, Header
from gateway.request_context import RequestContext

_PASSED_BACK = frozenset({"x-request-id", "retry-after"})
_PASSED_BACK_PREFIXES = ("openai-", "x-ratelimit-")
_DRAIN_SECONDS = 0.25
_HEALTH_PATHS = {"vllm": "/health", "llamacpp": "/health"}
_MODEL_LIST_SECONDS = 5.0

T = TypeVar("T")


class _ListedModel(msgspec.Struct):
    id: str
    created: int | None = None


class _ModelList(msgspec.Struct):
    data: list[_ListedModel]


_model_list_decoder = msgspec.json.Decoder(_ModelList)


class HttpBackend:
    """One model server of the settings."""

    def __init__(self, settings: BackendSettings, session: BackendSession) -> None:
        self.name = settings.name
        self.kind = settings.kind
        self.settings = settings
        self._session = session
        self._urls: dict[str, URL] = {}
        self._models_url = URL(f"{settings.base_url}/v1/models")
        health_path = _HEALTH_PATHS.get(settings.kind, "/v1/models")
        self._health_url = URL(f"{settings.base_url}{health_path}")
        self._credentials: dict[str, str] = {}
        if settings.api_key is not None:
            self._credentials["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        self._timeout = ClientTimeout(total=None, sock_connect=settings.connect_timeout_seconds)

    def speaks(self, api: Api) -> bool:
        """Return whether a client's own bytes of this API may pass through."""
        return api in ("chat", "embeddings")

    async def open(self, request: BackendRequest, context: RequestContext) -> "HttpAnswer":
        """Send a request and return the answer once its headers are there.

        The client's own headers stay behind, its credentials above all: the backend gets this
        gateway's, the correlation ID and the trace parent.

        Raises:
            BackendError: the server cannot be reached (502) or sends no headers in time (504).
        """
        url = self._urls.get(request.path)
        if url is None:
            url = self._urls[request.path] = URL(f"{self.settings.base_url}{request.path}")
        headers = {"Content-Type": "application/json", CORRELATION_ID: context.correlation_id}
        headers.update(self._credentials)
        if context.traceparent is not None:
            headers[TRACEPARENT] = context.traceparent
        if (request_id := context.headers.get(b"x-request-id")) is not None:
            headers[REQUEST_ID] = request_id.decode("latin-1")
        headers.update(request.headers)
        loop = asyncio.get_running_loop()
        first_byte_due = loop.time() + self.settings.first_byte_timeout_seconds
        response = await self._guard(
            self._session.client.post(
                url,
                data=request.body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ),
            deadline=first_byte_due,
        )
        return HttpAnswer(self, request.path, response, first_byte_due)

    async def list_models(self) -> dict[str, int]:
        """Ask the server which models it serves: model ID → moment of creation, Unix seconds.

        Raises:
            BackendError: it cannot be reached, refuses, or answers with something else.
        """
        body = await self._get(self._models_url, _MODEL_LIST_SECONDS)
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
        await self._get(self._health_url, timeout_seconds)

    async def _get(self, url: URL, timeout_seconds: float) -> bytes:
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        response = await self._guard(
            self._session.client.get(
                url, headers=self._credentials, timeout=self._timeout, allow_redirects=False
            ),
            deadline=deadline,
        )
        try:
            body = await self._guard(response.read(), deadline=deadline)
        finally:
            response.release()
        if response.status != 200:
            raise self.error(f"answered {url.path} with status {response.status}", "invalid")
        return body

    async def _guard(self, operation: Awaitable[T], *, deadline: float) -> T:
        """Await `operation` until `deadline` (event loop time) and name what went wrong."""
        try:
            async with asyncio.timeout_at(deadline):
                return await operation
        except aiohttp.ConnectionTimeoutError as error:
            raise self.error(
                "cannot be reached: connecting took too long", "unreachable"
            ) from error
        except TimeoutError as error:
            raise self.error("did not answer in time", "timeout", status=504) from error
        except aiohttp.ClientConnectorError as error:
            raise self.error(
                f"cannot be reached: {error.os_error.strerror or 'connection failed'}",
                "unreachable",
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self.error("closed the connection", "broken") from error

    def error(self, what: str, reason: str, *, status: int = 502) -> BackendError:
        """Return the error that says `what` this backend did."""
        return BackendError.of(self.name, what, reason, status=status)


class HttpAnswer:
    """A model server's answer; see `BackendAnswer`."""

    def __init__(
        self, backend: HttpBackend, path: str, response: ClientResponse, first_byte_due: float
    ) -> None:
        self.backend = backend.name
        self.path = path
        self._backend = backend
        self._response = response
        self._first_byte_due: float | None = first_byte_due
        self.status = response.status
        self.content_type = response.headers.get("Content-Type", "application/octet-stream")
        self.headers: list[Header] = [
            (name.encode("latin-1"), value.encode("latin-1", "replace"))
            for raw_name, value in response.headers.items()
            if (name := raw_name.lower()) in _PASSED_BACK or name.startswith(_PASSED_BACK_PREFIXES)
        ]

    @property
    def is_event_stream(self) -> bool:
        return self.content_type.lower().startswith("text/event-stream")

    async def read_all(self) -> bytes:
        parts = []
        while part := await self.read_some():
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read_some(self) -> bytes:
        content = self._response.content
        deadline, self._first_byte_due = self._first_byte_due, None
        try:
            # What is in the buffer needs no timer.
            data = content.read_nowait()
            if data or content.at_eof():
                return data
            if deadline is None:
                idle_timeout = self._backend.settings.idle_timeout_seconds
                deadline = asyncio.get_running_loop().time() + idle_timeout
            async with asyncio.timeout_at(deadline):
                return await content.readany()
        except TimeoutError as error:
            raise self._backend.error("fell silent", "timeout", status=504) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._backend.error("broke off its answer", "broken") from error

    async def drain(self) -> None:
        content = self._response.content
        if content.at_eof():
            return
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not content.at_eof():
                    await content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._response.close()

    def close(self) -> None:
        self._response.close()
