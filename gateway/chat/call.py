"""One chat call: search, prompt, backend, relay, record."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter

from starlette.types import Receive

from gateway.backends.answers import BackendAnswer
from gateway.backends.http import HttpBackend
from gateway.backends.refusals import check_refusal
from gateway.backends.requests import API_PATHS, BackendRequest
from gateway.backends.route import ModelRoute
from gateway.chat.call_record import CANCELLED, COMPLETED, FAILED, CallRecord
from gateway.chat.exchanges import Exchange, StreamRecorder
from gateway.chat.grounding import Grounding, ground_extractive, ground_prompt
from gateway.chat.retrieval_record import retrieval_timings
from gateway.disconnect import ClientDisconnected, DisconnectWatch
from gateway.errors import (
    BackendError,
    GatewayError,
    Header,
    InternalError,
    SearchFailed,
    ShuttingDown,
)
from gateway.extractive import ExtractiveAnswer
from gateway.metrics import GatewayMetrics
from gateway.openai.answers import NoAnswer
from gateway.openai.sse import EventTooLong, SseEvent, SseSplitter
from gateway.publisher import EventPublisher
from gateway.retrieval import OFF, Retriever
from gateway.retrieval_controls import RetrievalPlan
from knowledge.extractive import compose_extractive_answer

LastWrite = Callable[[], Awaitable[None]]
"""What is left to send once the events are queued."""

_LONGEST_RECORDED_ERROR = 2000
_RETRIEVAL_HEADER = b"x-sluice-retrieval"
_RETRIEVAL_OFF = (_RETRIEVAL_HEADER, OFF.encode())


class ChatCall:
    """The state of one call. It is run once.

    Args:
        exchange: the call in chat completions.
        native: the call in the client's own API, for backends that speak it.
    """

    def __init__(
        self,
        record: CallRecord,
        *,
        route: ModelRoute | None,
        query: str,
        plan: RetrievalPlan,
        retriever: Retriever,
        publisher: EventPublisher,
        metrics: GatewayMetrics,
        exchange: Exchange,
        native: Exchange | None,
        on_grounding: Callable[[Grounding], None] | None,
    ) -> None:
        self._record = record
        self._route = route
        self._query = query
        self._plan = plan
        self._retriever = retriever
        self._publisher = publisher
        self._metrics = metrics
        self._exchange = exchange
        """How the backend that answers is talked to."""
        self._native = native
        self._on_grounding = on_grounding
        self._answer: BackendAnswer | None = None
        self._recorder: StreamRecorder | None = None
        self._has_started_stream = False

    async def run(self, receive: Receive) -> None:
        """Answer the client, and queue the call's events before the last byte is sent.

        Raises:
            GatewayError: nothing has been sent yet, and the client is to be told this.
        """
        try:
            async with DisconnectWatch(receive):
                write_rest = await self._serve()
            await write_rest()
            if self._answer is not None:
                await self._answer.drain()
        except ClientDisconnected:
            self._finish(CANCELLED, error="the client disconnected")
        except GatewayError as error:
            await self._fail(error)
        except NoAnswer:
            await self._fail(self._backend_error("sent an answer that cannot be read", "invalid"))
        except asyncio.CancelledError:
            # The server cancels what still runs when its grace for shutting down is over.
            await self._fail(ShuttingDown())
        except Exception:
            self._finish(FAILED, error="unexpected error in the gateway")
            context = self._record.context
            if self._has_started_stream and not context.is_response_complete:
                await self._exchange.writer.fail_stream(InternalError(context.correlation_id))
            raise
        finally:
            if self._answer is not None:
                self._answer.close()

    async def _serve(self) -> LastWrite:
        answer = self._answer = await self._open_answer()
        if not 200 <= answer.status < 300:
            return await self._pass_on_refusal(answer)
        if answer.is_event_stream and self._record.request.is_streaming:
            return await self._relay_stream(answer)
        return await self._relay_body(answer)

    async def _open_answer(self) -> BackendAnswer:
        if self._route is None:
            return await self._answer_extractively()
        record = self._record
        context = None
        if self._query:
            search = await self._retriever.search(self._query, self._plan)
            grounding = ground_prompt(
                search,
                record.request,
                token_budget=self._retriever.settings.token_budget,
                context_length=self._route.context_length,
            )
            self._take_grounding(grounding)
            context = grounding.context

        native = self._native

        def build(backend: HttpBackend, model: str) -> BackendRequest:
            exchange = native if native and backend.speaks(native.api) else self._exchange
            body = exchange.body(context, model=model)
            return BackendRequest(API_PATHS[exchange.api], body, exchange.headers)

        record.backend_started = perf_counter()
        try:
            answer = await self._route.open(build, record.context, (native or self._exchange).api)
        except BackendError as error:
            record.backend = record.context.backend = error.backend
            raise
        record.backend = record.context.backend = answer.backend
        if native and answer.path == API_PATHS[native.api]:
            self._exchange = native
        return answer

    async def _answer_extractively(self) -> BackendAnswer:
        record = self._record
        text = ""
        if self._query:
            search = await self._retriever.search(self._query, self._plan)
            grounding = ground_extractive(
                search,
                model=record.request.model,
                token_budget=self._retriever.settings.token_budget,
            )
            self._take_grounding(grounding)
            if search.result is None:
                raise SearchFailed
            text = grounding.extractive_answer or ""
        record.backend_started = perf_counter()
        return ExtractiveAnswer(
            text or compose_extractive_answer(self._query, ()),
            prompt=self._query,
            is_streaming=record.request.is_streaming,
        )

    def _take_grounding(self, grounding: Grounding) -> None:
        self._record.grounding = grounding
        if self._on_grounding is not None:
            self._on_grounding(grounding)

    async def _pass_on_refusal(self, answer: BackendAnswer) -> LastWrite:
        """Hand the backend's own error to the client: what the client did wrong, it says best."""
        body = await answer.read_all()
        description = body[:_LONGEST_RECORDED_ERROR].decode(errors="replace")
        self._metrics.count_backend_error(self._record.backend, f"http_{answer.status}")
        self._finish(FAILED, error=f"status {answer.status}: {description}")
        check_refusal(self._record.backend, answer.status, body)
        return partial(
            self._exchange.writer.send_refusal,
            answer.status,
            answer.content_type,
            self._response_headers(answer),
            body,
        )

    async def _relay_body(self, answer: BackendAnswer) -> LastWrite:
        body = await answer.read_all()
        self._record.answer = self._exchange.read_body(body)
        self._exchange.writer.accept_body(body)
        headers = self._response_headers(answer)
        self._finish(COMPLETED)
        return partial(
            self._exchange.writer.send_body,
            answer.status,
            answer.content_type,
            headers,
            self._record.extension_fields,
        )

    async def _relay_stream(self, answer: BackendAnswer) -> LastWrite:
        writer = self._exchange.writer
        splitter = SseSplitter()
        recorder = self._recorder = self._exchange.new_recorder()
        while True:
            data = await answer.read_some()
            if not self._has_started_stream:
                if not data:
                    raise self._backend_error("ended its answer before it began", "broken")
                await writer.start_stream(
                    answer.content_type,
                    self._response_headers(answer),
                    self._record.extension_fields,
                )
                self._has_started_stream = True
            try:
                events = splitter.feed(data) if data else splitter.flush()
            except EventTooLong as error:
                raise self._backend_error("sent an event without an end", "invalid") from error
            for number, event in enumerate(events, 1):
                recorder.add(event)
                if recorder.is_over:
                    del events[number:]
            if self._record.first_token is None and recorder.has_output:
                self._record.first_token = perf_counter()
            if recorder.is_over:
                return self._end_stream(events, recorder)
            if not data and recorder.is_finished:
                return self._end_stream([*events, *recorder.missing_end()], recorder)
            if events:
                await writer.send_events(events)
            if not data:
                raise self._backend_error("broke off its answer", "broken")

    def _end_stream(self, events: list[SseEvent], recorder: StreamRecorder) -> LastWrite:
        if recorder.error is not None:
            self._metrics.count_backend_error(self._record.backend, "stream_error")
            self._finish(FAILED, error=recorder.error)
        else:
            self._finish(COMPLETED)
        return partial(self._exchange.writer.send_events, events, is_last=True)

    async def _fail(self, error: GatewayError) -> None:
        if isinstance(error, BackendError):
            self._metrics.count_backend_error(error.backend, error.reason)
        self._finish(FAILED, error=error.message)
        if not self._has_started_stream:
            raise error
        await self._exchange.writer.fail_stream(error)

    def _finish(self, status: str, *, error: str | None = None) -> None:
        if self._record.is_finished:
            return
        if self._recorder is not None:
            self._record.answer = self._recorder.answer()
        self._record.finish(status, self._publisher, error=error)
        self._metrics.count_tokens(self._record.backend, self._record.answer.usage)

    def _backend_error(self, what: str, reason: str) -> BackendError:
        return BackendError.of(self._record.backend, what, reason)

    def _response_headers(self, answer: BackendAnswer) -> list[Header]:
        headers = list(answer.headers)
        timings = ""
        grounding = self._record.grounding
        if grounding is None:
            headers.append(_RETRIEVAL_OFF)
        else:
            headers.append((_RETRIEVAL_HEADER, grounding.search.status.encode()))
            for name, seconds in retrieval_timings(grounding):
                timings += f"{name};dur={seconds * 1000:.3f}, "
            if grounding.sources:
                headers.append((b"x-sluice-sources", ",".join(grounding.chunk_ids).encode()))
        if self._record.backend_started is not None:
            milliseconds = (perf_counter() - self._record.backend_started) * 1000
            timings += f"backend;dur={milliseconds:.3f}"
        headers.append((b"server-timing", timings.encode()))
        return headers
