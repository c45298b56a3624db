"""Puts the gateway together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from contracts.settings import Settings
from contracts.tracing.opening import open_tracing
from contracts.tracing.span_collector import SpanCollector
from gateway.access.opening import open_access
from gateway.anthropic.endpoints import CountTokensEndpoint, MessagesEndpoint
from gateway.backends.metrics import BackendCollector
from gateway.backends.router import BackendRouter
from gateway.chat.service import ChatService
from gateway.chat.token_counting import TokenCounter
from gateway.embeddings.served_encoder import ServedEncoder
from gateway.embeddings.service import EmbeddingsService
from gateway.endpoints import (
    ChatCompletionsEndpoint,
    EmbeddingsEndpoint,
    ModelsEndpoint,
)
from gateway.envelopes import answer_gateway_error, answer_http_exception
from gateway.errors import GatewayError
from gateway.health import HealthEndpoint
from gateway.lifecycle import Lifecycle
from gateway.metrics import GatewayMetrics
from gateway.middleware.access import AccessMiddleware
from gateway.middleware.direct_routes import DirectRoutes
from gateway.middleware.logger import LoggerMiddleware
from gateway.middleware.recovery import RecoveryMiddleware
from gateway.middleware.request_context import RequestContextMiddleware
from gateway.openapi.document import show_document
from gateway.publisher import EventPublisher
from gateway.reload import LoadSettings, Reloader
from gateway.responses.endpoints import CreateResponseEndpoint, StoredResponsesEndpoints
from gateway.responses.retention import ResponseRetention
from gateway.responses.service import ResponsesService
from gateway.responses.store import ResponseStore
from gateway.retrieval import Retriever
from gateway.spool.spool import Spool
from gateway.tls import ServerTls
from gateway.upstream.pool import UpstreamPool
from gateway.workers.worker import ONLY_WORKER, Worker
from knowledge.database_pool import DatabasePool
from knowledge.encoding.deferred_encoder import DeferredEncoder
from knowledge.hybrid_search import HybridIndex

ENDING_CALLS_SECONDS = 0.5
TRACES_SECONDS = 1.0
"""In which the last spans are shipped, after all else."""

_log = structlog.get_logger("gateway")


def split_grace(grace_seconds: float) -> tuple[float, float]:
    """Divide the time for shutting down: seconds for running calls, seconds for their events."""
    return grace_seconds * 0.6, grace_seconds * 0.4


def create_app(
    settings: Settings,
    *,
    load_settings: LoadSettings | None = None,
    tls: ServerTls | None = None,
    worker: Worker = ONLY_WORKER,
) -> Starlette:
    """Return the gateway as an ASGI application; its lifespan connects and disconnects it.

    It starts, and answers, without the broker, the database or the backends, and finds them
    when they come up.

    Raises:
        KeyFileError: the file of API keys is wrong.
        KeysNeeded: there are none, and others can reach the address.
    """
    access = open_access(settings, worker.levels)
    metrics = GatewayMetrics(has_siblings=not worker.is_only)
    publisher = EventPublisher(
        settings.broker,
        Spool(settings.spool_dir, settings.spool),
        max_events=settings.gateway.publish_queue_events,
        max_bytes=settings.gateway.publish_queue_bytes,
    )
    metrics.watch_publisher(publisher)
    tracing = open_tracing(settings.telemetry, "sluice-gateway")
    metrics.watch(SpanCollector(tracing))
    traces = None
    if tracing is not None:
        from gateway.request_traces import RequestTraces

        traces = RequestTraces(tracing)
    pool = UpstreamPool()
    router = BackendRouter(settings.backends, pool, settings.routing, worker.make_slots)
    metrics.watch(BackendCollector(router))
    database = DatabasePool(settings.database_url)
    encoder = served_encoder = None
    # Of a search's time, some must be left for full text where the encoder takes too long.
    encoder_seconds = min(settings.encoder.timeout_seconds, settings.retrieval.timeout_seconds / 2)
    if settings.encoder.enabled:
        encoder = DeferredEncoder(settings.encoder.target, timeout_seconds=encoder_seconds)
        served_encoder = ServedEncoder(encoder)
    index = HybridIndex(
        database, encoder, settings.retrieval, encoder_timeout_seconds=encoder_seconds
    )
    retriever = Retriever(index, settings.retrieval, metrics)
    service = ChatService(router, retriever, publisher, metrics)
    embeddings = EmbeddingsService(router, served_encoder, publisher, metrics)
    models = ModelsEndpoint(router, served_encoder)
    store = ResponseStore(database, settings.responses)
    retention = ResponseRetention(database, store, settings.responses, metrics)
    responses = ResponsesService(service, store, settings.responses)
    stored_responses = StoredResponsesEndpoints(store)
    lifecycle = Lifecycle()
    reloader = Reloader(
        settings, load_settings=load_settings, access=access, router=router, tls=tls
    )
    health = HealthEndpoint(lifecycle, publisher, database, router, served_encoder)

    async def show_metrics(_request: Request) -> Response:
        return Response(metrics.render(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def stop_publisher() -> None:
        _, flush_seconds = split_grace(settings.gateway.shutdown_grace_seconds)
        await service.wait_until_idle(ENDING_CALLS_SECONDS)
        lost = await publisher.stop(flush_seconds)
        _log.info("gateway stopped", events_lost=lost, events_shipped=publisher.shipped.total())

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if tracing is not None:
                stack.push_async_callback(asyncio.to_thread, tracing.close, TRACES_SECONDS)
            stack.push_async_callback(database.close)
            if encoder is not None:
                stack.push_async_callback(encoder.close)
            stack.callback(pool.close)
            publisher.start()
            stack.push_async_callback(stop_publisher)
            router.start()
            stack.callback(router.close)
            await retriever.start()
            stack.push_async_callback(retriever.stop)
            retention.start()
            stack.push_async_callback(retention.stop)
            sharing = asyncio.create_task(metrics.share(), name="metrics-sharing")
            stack.callback(sharing.cancel)
            reloader.start()
            stack.push_async_callback(reloader.stop)
            yield

    max_body_bytes = settings.gateway.max_body_bytes
    endpoints: dict[str, ASGIApp] = {
        "/v1/chat/completions": ChatCompletionsEndpoint(service, max_body_bytes=max_body_bytes),
        "/v1/messages": MessagesEndpoint(service, max_body_bytes=max_body_bytes),
        "/v1/messages/count_tokens": CountTokensEndpoint(
            TokenCounter(router, retriever), max_body_bytes=max_body_bytes
        ),
        "/v1/responses": CreateResponseEndpoint(responses, max_body_bytes=max_body_bytes),
        "/v1/embeddings": EmbeddingsEndpoint(embeddings, max_body_bytes=max_body_bytes),
    }
    app = Starlette(
        routes=[
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()),
            Route(
                "/v1/responses/{response_id}",
                stored_responses.show_or_delete,
                methods=["GET", "DELETE"],
            ),
            Route(
                "/v1/responses/{response_id}/input_items",
                stored_responses.list_input_items,
                methods=["GET"],
            ),
            Route("/v1/responses/{response_id}/cancel", stored_responses.cancel, methods=["POST"]),
            Route("/v1/models", models.list_models, methods=["GET"]),
            Route("/v1/models/{model:path}", models.show_model, methods=["GET"]),
            Route("/healthz", health.show, methods=["GET"]),
            Route("/readyz", health.show_readiness, methods=["GET"]),
            Route("/metrics", show_metrics, methods=["GET"]),
            Route("/openapi.json", show_document, methods=["GET"]),
        ],
        middleware=[
            Middleware(RequestContextMiddleware, traces=traces),
            Middleware(LoggerMiddleware, metrics=metrics),
            Middleware(RecoveryMiddleware),
            Middleware(AccessMiddleware, access=access),
            Middleware(DirectRoutes, endpoints=endpoints),
        ],
        exception_handlers={
            GatewayError: answer_gateway_error,
            HTTPException: answer_http_exception,
        },
        lifespan=lifespan,
    )
    app.state.lifecycle = lifecycle
    app.state.reloader = reloader
    return app
