"""One chat call: search, prompt, backend, relay, record."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Any

from starlette.types import Receive

from gateway.backends.answers import BackendAnswer
from gateway.backends.http import HttpBackend
from gateway.backends.refusals import check_refusal
from gateway.backends.requests import API_PATHS, BackendRequest
from gateway.backends.route import ModelRoute
from gateway.chat.call_record import CANCELLED, COMPLETED, FAILED, CallRecord
from gateway.chat.grounding import ground_extractive, ground_prompt
from gateway.chat.retrieval_record import retrieval_timings
from gateway.chat.writers import AnswerWriter
from gateway.disconnect import ClientDisconnected, DisconnectWatch
from gateway.errors import BackendError, GatewayError, Header, SearchFailed, ShuttingDown
from gateway.extractive import ExtractiveAnswer
from gateway.metrics import GatewayMetrics
from gateway.openai.accumulator import AnswerAccumulator
from gateway.openai.completions import NoCompletion, read_completion, with_fields
from gateway.openai.sse import DONE, EventTooLong, SseEvent, SseSplitter
from gateway.publisher import EventPublisher
from gateway.retrieval import OFF, Retriever
from gateway.retrieval_controls import RetrievalPlan
from knowledge.composition import inject_context
from knowledge.extractive import compose_extractive_answer

LastWrite = Callable[[], Awaitable[None]]
"""What is left to send once the events are queued."""

_DONE_EVENT = SseEvent(b"data: [DONE]\n\n", DONE)
_LONGEST_RECORDED_ERROR = 2000
_RETRIEVAL_HEADER = b"x-sluice-retrieval"
_RETRIEVAL_OFF = (_RETRIEVAL_HEADER, OFF.encode())


class ChatCall:
    """The state of one call. It is run once."""

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
        writer: AnswerWriter,
    ) -> None:
        self._record = record
        self._route = route
        self._query = query
        self._plan = plan
        self._retriever = retriever
        self._publisher = publisher
        self._metrics = metrics
        self._writer = writer
        self._answer: BackendAnswer | None = None
        self._accumulator: AnswerAccumulator | None = None
        self._has_started_stream = False
        self._due_fields: dict[str, Any] = {}
        """Extension fields that the answer is still to be given."""

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
        except asyncio.CancelledError:
            # The server cancels what still runs when its grace for shutting down is over.
            await self._fail(ShuttingDown())
        except Exception:
            self._finish(FAILED, error="unexpected error in the gateway")
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
        messages = None
        if self._query:
            search = await self._retriever.search(self._query, self._plan)
            record.grounding = ground_prompt(
                search,
                record.request,
                token_budget=self._retriever.settings.token_budget,
                context_length=self._route.context_length,
            )
            self._due_fields = record.grounding.extension_fields
            if record.grounding.context is not None:
                messages = inject_context(record.request.conversation, record.grounding.context)

        def build(_backend: HttpBackend, model: str) -> BackendRequest:
            body = record.request.forwarded_body(messages, model=model)
            return BackendRequest(API_PATHS["chat"], body)

        record.backend_started = perf_counter()
        try:
            answer = await self._route.open(build, record.context, "chat")
        except BackendError as error:
            record.backend = record.context.backend = error.backend
            raise
        record.backend = record.context.backend = answer.backend
        return answer

    async def _answer_extractively(self) -> BackendAnswer:
        record = self._record
        text = ""
        if self._query:
            search = await self._retriever.search(self._query, self._plan)
            record.grounding = ground_extractive(
                search,
                model=record.request.model,
                token_budget=self._retriever.settings.token_budget,
            )
            if search.result is None:
                raise SearchFailed
            self._due_fields = record.grounding.extension_fields
            text = record.grounding.extractive_answer or ""
        record.backend_started = perf_counter()
        return ExtractiveAnswer(
            text or compose_extractive_answer(self._query, ()),
            prompt=self._query,
            is_streaming=record.request.is_streaming,
        )

    async def _pass_on_refusal(self, answer: BackendAnswer) -> LastWrite:
        """Hand the backend's own error to the client: what the client did wrong, it says best."""
        body = await answer.read_all()
        description = body[:_LONGEST_RECORDED_ERROR].decode(errors="replace")
        self._metrics.count_backend_error(self._record.backend, f"http_{answer.status}")
        self._finish(FAILED, error=f"status {answer.status}: {description}")
        check_refusal(self._record.backend, answer.status, body)
        return partial(
            self._writer.send_body,
            answer.status,
            answer.content_type,
            self._response_headers(answer),
            body,
        )

    async def _relay_body(self, answer: BackendAnswer) -> LastWrite:
        body = await answer.read_all()
        try:
            self._record.answer = read_completion(body)
        except NoCompletion as error:
            raise self._backend_error(
                "answered with something that is no chat completion", "invalid"
            ) from error
        if self._due_fields:
            body = with_fields(body, self._due_fields)
        headers = self._response_headers(answer)
        self._finish(COMPLETED)
        return partial(self._writer.send_body, answer.status, answer.content_type, headers, body)

    async def _relay_stream(self, answer: BackendAnswer) -> LastWrite:
        splitter = SseSplitter()
        accumulator = self._accumulator = AnswerAccumulator()
        while True:
            data = await answer.read_some()
            if not self._has_started_stream:
                if not data:
                    raise self._backend_error("ended its answer before it began", "broken")
                await self._writer.start_stream(answer.content_type, self._response_headers(answer))
                self._has_started_stream = True
            try:
                events = splitter.feed(data) if data else splitter.flush()
            except EventTooLong as error:
                raise self._backend_error("sent an event without an end", "invalid") from error
            outgoing: list[SseEvent] = []
            for event in events:
                if event.data == DONE:
                    return self._end_stream([*outgoing, event], accumulator)
                relayed = self._read_event(event, accumulator)
                if relayed is not None:
                    outgoing.append(relayed)
                if accumulator.error is not None:
                    return self._end_stream(outgoing, accumulator)
            if not data and accumulator.is_finished:
                # Some servers just stop; clients of OpenAI's protocol wait for the word.
                return self._end_stream([*outgoing, _DONE_EVENT], accumulator)
            if outgoing:
                await self._writer.send_events(outgoing)
            if not data:
                raise self._backend_error("broke off its answer", "broken")

    def _read_event(self, event: SseEvent, accumulator: AnswerAccumulator) -> SseEvent | None:
        """Record one event; return what the client gets of it."""
        if event.data is None:
            return event
        chunk = accumulator.add(event.data)
        if self._record.first_token is None and accumulator.has_output:
            self._record.first_token = perf_counter()
        if chunk is None:
            return event
        if chunk.is_usage_only and not self._record.request.wants_usage:
            return None
        if self._due_fields:
            data = with_fields(event.data, self._due_fields)
            self._due_fields = {}
            return SseEvent(b"data: " + data + b"\n\n", data)
        return event

    def _end_stream(self, events: list[SseEvent], accumulator: AnswerAccumulator) -> LastWrite:
        if accumulator.error is not None:
            self._metrics.count_backend_error(self._record.backend, "stream_error")
            self._finish(FAILED, error=accumulator.error)
        else:
            self._finish(COMPLETED)
        return partial(self._writer.send_events, events, is_last=True)

    async def _fail(self, error: GatewayError) -> None:
        if isinstance(error, BackendError):
            self._metrics.count_backend_error(error.backend, error.reason)
        self._finish(FAILED, error=error.message)
        if not self._has_started_stream:
            raise error
        await self._writer.fail_stream(error)

    def _finish(self, status: str, *, error: str | None = None) -> None:
        if self._record.is_finished:
            return
        if self._accumulator is not None:
            self._record.answer = self._accumulator.answer()
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
