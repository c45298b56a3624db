"""What is recorded of one chat call, and the events made of it."""

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, cast

from contracts.events import Event
from contracts.payloads import (
    ChatPersist,
    ChatTelemetry,
    FlowLineage,
    FlowStage,
    ToolCall,
    ToolCallTelemetry,
)
from contracts.subjects import PipelineSubject, Subject, TelemetrySubject
from gateway.chat.grounding import Grounding
from gateway.chat.retrieval_record import retrieval_payloads, retrieval_stages
from gateway.openai.answers import Answer
from gateway.openai.requests import ChatRequest
from gateway.publisher import EventPublisher
from gateway.request_context import RequestContext
from gateway.request_events import request_event

COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"


@dataclass(slots=True)
class CallRecord:
    """One call, from the choice of its backend to the end of its answer."""

    context: RequestContext
    request: ChatRequest
    dialect: str
    backend: str
    answer: Answer = field(default_factory=Answer)
    grounding: Grounding | None = None
    backend_started: float | None = None
    """Monotonic seconds; None where the call did not get as far."""
    first_token: float | None = None
    """Monotonic seconds of the first token of a stream."""
    is_finished: bool = False

    @property
    def extension_fields(self) -> dict[str, Any]:
        """What the gateway itself adds to the answer."""
        return {} if self.grounding is None else self.grounding.extension_fields

    def finish(self, status: str, publisher: EventPublisher, *, error: str | None = None) -> None:
        """Queue the call's events, once: a second call changes nothing."""
        if self.is_finished:
            return
        self.is_finished = True
        self.context.call_status = status
        self.context.usage = self.answer.usage
        publisher.publish_all(self._events(status, error, perf_counter()))

    def _events(
        self, status: str, error: str | None, ended: float
    ) -> list[tuple[Subject, Event[Any]]]:
        started = self.context.started
        duration = ended - started
        first_token_seconds = None if self.first_token is None else self.first_token - started
        source_chunk_ids = [] if self.grounding is None else self.grounding.chunk_ids
        request, answer = self.request, self.answer
        events: list[tuple[Subject, Event[Any]]] = [
            (
                PipelineSubject.CHAT_PERSIST,
                request_event(
                    ChatPersist(
                        dialect=self.dialect,
                        model=request.model,
                        backend=self.backend,
                        status=status,
                        # The client's own JSON goes into the event as it is: decoding it only
                        # to encode it again would cost more than all else here.
                        messages=cast("list[dict[str, Any]]", request.messages),
                        answer=answer.message,
                        tools=cast("list[dict[str, Any]]", request.tools or []),
                        parameters=cast("dict[str, Any]", request.parameters),
                        is_streaming=request.is_streaming,
                        finish_reason=answer.finish_reason,
                        error=error,
                        usage=answer.usage,
                        started_at=self.context.started_at,
                        duration_seconds=duration,
                        first_token_seconds=first_token_seconds,
                        source_chunk_ids=source_chunk_ids,
                    ),
                    self.context,
                ),
            )
        ]
        if self.grounding is not None:
            for subject, payload in retrieval_payloads(self.grounding):
                events.append((subject, request_event(payload, self.context)))
        for call in answer.tool_calls:
            tool_call = ToolCall(
                tool_call_id=call.tool_call_id,
                function_name=call.name,
                arguments=call.arguments,
                position=call.position,
                model=request.model,
                backend=self.backend,
            )
            telemetry = ToolCallTelemetry(function_name=call.name, model=request.model)
            events.append((PipelineSubject.TOOL_CALL, request_event(tool_call, self.context)))
            events.append((TelemetrySubject.TOOL_CALL, request_event(telemetry, self.context)))
        stages = self._stages(status, error, ended)
        if self.context.trace is not None:
            self.context.trace.stages = stages
            self.context.trace.first_token_seconds = first_token_seconds
        lineage = FlowLineage(
            dialect=self.dialect,
            model=request.model,
            backend=self.backend,
            status=status,
            started_at=self.context.started_at,
            duration_seconds=duration,
            stages=stages,
            source_chunk_ids=source_chunk_ids,
            # Telemetry is not persisted: the lineage would join to nothing.
            event_ids=[
                event.event_id for subject, event in events if isinstance(subject, PipelineSubject)
            ],
        )
        events.append((PipelineSubject.FLOW_LINEAGE, request_event(lineage, self.context)))
        chat_telemetry = ChatTelemetry(
            model=request.model,
            backend=self.backend,
            dialect=self.dialect,
            status=status,
            is_streaming=request.is_streaming,
            usage=answer.usage,
            duration_seconds=duration,
            first_token_seconds=first_token_seconds,
        )
        events.append((TelemetrySubject.CHAT, request_event(chat_telemetry, self.context)))
        return events

    def _stages(self, status: str, error: str | None, ended: float) -> list[FlowStage]:
        started = self.context.started
        stages = [] if self.grounding is None else retrieval_stages(self.grounding, started)
        if self.backend_started is not None:
            stages.append(
                FlowStage(
                    name="backend",
                    offset_seconds=self.backend_started - started,
                    duration_seconds=ended - self.backend_started,
                    status="ok" if status == COMPLETED else status,
                    details={} if error is None else {"error": error},
                )
            )
        return stages
