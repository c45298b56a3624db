"""The encoder's HTTP side."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Lifespan

from encoder import cohere, openai, tei
from encoder.dialects import Dialect, OpenAiDialect, TeiDialect
from encoder.endpoint import JsonEndpoint
from encoder.errors import InvalidRequest, NotReady
from encoder.metrics import EncoderMetrics
from encoder.service import EncoderService

if TYPE_CHECKING:
    from contracts.tracing.tracing import Tracing

_ENDPOINTS: Mapping[
    str, tuple[Callable[[EncoderService, bytes], Awaitable[bytes]], type[Dialect]]
] = {
    "/embed": (tei.embed, TeiDialect),
    "/rerank": (tei.rerank, TeiDialect),
    "/v1/embeddings": (openai.embeddings, OpenAiDialect),
    "/v1/rerank": (cohere.rerank, OpenAiDialect),
}


def create_app(
    service: EncoderService,
    metrics: EncoderMetrics,
    lifespan: Lifespan[Starlette],
    tracing: "Tracing | None" = None,
) -> Starlette:
    """Return the HTTP side as an ASGI application."""

    async def show_health(_request: Request) -> Response:
        try:
            model = service.model
        except NotReady as reason:
            return JSONResponse({"status": "loading", "detail": reason.message}, 503)
        return JSONResponse(
            {
                "status": "ok",
                "model": model.name,
                "dimensions": model.dimensions,
                "token_dimensions": model.token_dimensions,
            }
        )

    async def show_metrics(_request: Request) -> Response:
        return Response(
            generate_latest(metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST}
        )

    endpoints = [
        Route(
            path,
            JsonEndpoint(path, partial(handle, service), dialect(), metrics, tracing),
            methods=["POST"],
        )
        for path, (handle, dialect) in _ENDPOINTS.items()
    ]
    return Starlette(
        routes=[
            *endpoints,
            Route("/health", show_health, methods=["GET"]),
            Route("/metrics", show_metrics, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _answer_http_exception},
        lifespan=lifespan,
    )


def _answer_http_exception(request: Request, exception: Exception) -> Response:
    """Tell the client of Starlette's own refusals (404, 405) in the shape that the path has."""
    if not isinstance(exception, HTTPException):
        raise exception
    is_openai = request.url.path.startswith("/v1/")
    dialect: Dialect = OpenAiDialect() if is_openai else TeiDialect()
    error = InvalidRequest(f"{exception.detail}: {request.method} {request.url.path}")
    return Response(
        dialect.body_of(error),
        exception.status_code,
        headers=dict(exception.headers or {}),
        media_type="application/json",
    )
