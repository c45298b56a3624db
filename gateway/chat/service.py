"""The chat completion core: chooses the backend, grounds the prompt, hands over to a call."""

import asyncio
from collections.abc import Callable

from starlette.types import Receive

from gateway.backends.route import ModelRoute
from gateway.backends.router import BackendRouter
from gateway.chat.call import ChatCall
from gateway.chat.call_record import CallRecord
from gateway.chat.exchanges import Exchange
from gateway.chat.grounding import Grounding
from gateway.chat.writers import AnswerWriter
from gateway.errors import BackendError, InvalidRequest, ModelNotFound
from gateway.extractive import BACKEND as EXTRACTIVE_BACKEND
from gateway.extractive import MODEL as EXTRACTIVE_MODEL
from gateway.metrics import GatewayMetrics
from gateway.openai.exchange import ChatExchange
from gateway.openai.requests import ChatRequest, RetrievalControls
from gateway.publisher import EventPublisher
from gateway.request_context import RequestContext
from gateway.retrieval import Retriever
from gateway.retrieval_controls import plan_retrieval
from knowledge.prompt_budget import find_prompt_limit
from knowledge.queries import extract_user_query


class ChatService:
    """Answers chat requests of any dialect."""

    def __init__(
        self,
        router: BackendRouter,
        retriever: Retriever,
        publisher: EventPublisher,
        metrics: GatewayMetrics,
    ) -> None:
        self._router = router
        self._retriever = retriever
        self._publisher = publisher
        self._metrics = metrics
        self._active_calls = 0
        self._has_no_calls = asyncio.Event()
        self._has_no_calls.set()

    async def answer(
        self,
        request: ChatRequest,
        context: RequestContext,
        *,
        dialect: str,
        writer: AnswerWriter,
        receive: Receive,
        native: Exchange | None = None,
        on_grounding: Callable[[Grounding], None] | None = None,
    ) -> None:
        """Answer `request`, whole or streamed, and queue the call's events.

        Args:
            request: as a chat completion request, whatever the client speaks.
            dialect: what the client speaks, for the events.
            writer: brings a chat completion to the client.
            native: carries the call out where a backend speaks the client's own API.
            on_grounding: is told what retrieval found, before the answer begins.

        Raises:
            GatewayError: nothing has been sent yet, and the client is to be told this.
        """
        context.require_model(request.model)
        settings = self._retriever.settings
        plan = plan_retrieval(request.retrieval, context.headers, settings)
        route = await self._find_route(request.model)
        if route is None:
            if request.model != EXTRACTIVE_MODEL:
                raise ModelNotFound(request.model, [EXTRACTIVE_MODEL])
            if plan.is_wanted is False:
                raise InvalidRequest(
                    f"The model {EXTRACTIVE_MODEL!r} answers from retrieved passages,"
                    " and retrieval is off.",
                    param="retrieval",
                )
        query = ""
        if route is None or self._retriever.is_due(plan):
            query = extract_user_query(request.conversation)
        record = CallRecord(
            context=context,
            request=request,
            dialect=dialect,
            backend=EXTRACTIVE_BACKEND if route is None else route.backend,
        )
        context.model = request.model
        context.backend = record.backend
        call = ChatCall(
            record,
            route=route,
            query=query,
            plan=plan,
            retriever=self._retriever,
            publisher=self._publisher,
            metrics=self._metrics,
            exchange=ChatExchange(request, writer),
            native=native,
            on_grounding=on_grounding,
        )
        self._active_calls += 1
        self._has_no_calls.clear()
        try:
            await call.run(receive)
        finally:
            self._active_calls -= 1
            if self._active_calls == 0:
                self._has_no_calls.set()

    async def find_prompt_limit(
        self,
        model: str,
        context: RequestContext,
        *,
        retrieval: RetrievalControls,
        answer_tokens: int | None,
    ) -> int | None:
        """Return how many tokens a conversation with `model` may have; None: any number.

        Raises:
            GatewayError: the request cannot be answered.
        """
        context.require_model(model)
        route = await self._find_route(model)
        if route is None:
            return None
        settings = self._retriever.settings
        is_due = self._retriever.is_due(plan_retrieval(retrieval, context.headers, settings))
        return find_prompt_limit(
            context_length=route.context_length,
            answer_tokens=answer_tokens,
            retrieved_tokens=settings.token_budget if is_due else 0,
        )

    async def wait_until_idle(self, timeout_seconds: float) -> None:
        """Wait for calls that are ending, so that their events are queued."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._has_no_calls.wait()
        except TimeoutError:
            return

    async def _find_route(self, model: str) -> ModelRoute | None:
        """Return the way to the model's backends; None where there are no backends at all."""
        if self._router.is_empty:
            return None
        try:
            return await self._router.route(model)
        except BackendError as error:
            self._metrics.count_backend_error(error.backend, error.reason)
            raise
