"""One gateway under measurement: how it is run and asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from benchmarks.wrk_load import Request
from sluice.servers.spec import NotReady, Probe, ProcessSpec

_PROBE_SECONDS = 5.0
_READY_SECONDS = 60.0


def _nothing() -> None:
    """Leave nothing to be waited for."""


@dataclass(frozen=True)
class GatewayServer:
    """A gateway in front of one upstream, or with no command that upstream itself."""

    name: str
    base_url: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """What a client has to send with each request."""
    translates_messages: bool = False
    """Whether it answers `/v1/messages` from an upstream that has chat completions only."""
    settle: Callable[[], None] = _nothing
    """Returns when the work that a load left behind is done."""

    def chat(self, body: bytes) -> Request:
        """Return a request to `/v1/chat/completions`."""
        return Request(f"{self.base_url}/v1/chat/completions", body, self.headers)

    def messages(self, body: bytes) -> Request:
        """Return a request to `/v1/messages`."""
        headers = {"anthropic-version": "2023-06-01", **self.headers}
        return Request(f"{self.base_url}/v1/messages", body, headers)

    def process(self, body: bytes, *, prefix: tuple[str, ...] = ()) -> ProcessSpec:
        """Return how it is run; it is ready once it answers the chat request `body`."""
        return ProcessSpec(
            name=self.name,
            command=(*prefix, *self.command),
            environment=self.environment,
            probe=answer_probe(self.chat(body)),
            ready_seconds=_READY_SECONDS,
        )


def answer_probe(request: Request) -> Probe:
    """Ready when `request` is answered with 200."""

    async def probe() -> None:
        timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
        headers = {"Content-Type": "application/json", **request.headers}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(request.url, data=request.body, headers=headers) as answer,
            ):
                await answer.read()
                if answer.status != 200:
                    raise NotReady(f"{request.url} answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotReady(f"{request.url}: {str(error) or type(error).__name__}") from error

    return probe
