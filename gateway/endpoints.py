"""The gateway's HTTP endpoints."""

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send

from gateway.anthropic.models import describe_model, list_page, read_limit
from gateway.backends.router import BackendRouter, ServedModel
from gateway.body_endpoint import BodyEndpoint
from gateway.chat.service import ChatService
from gateway.embeddings.served_encoder import OWNER, ServedEncoder
from gateway.embeddings.service import EmbeddingsService
from gateway.envelopes import speaks_anthropic
from gateway.errors import ModelNotFound
from gateway.extractive import MODEL as EXTRACTIVE_MODEL
from gateway.openai.embeddings import read_embeddings_request
from gateway.openai.requests import read_chat_request
from gateway.openai.writer import ChatWriter
from gateway.request_context import RequestContext, current_request

OPENAI_CHAT = "openai.chat"


class ChatCompletionsEndpoint(BodyEndpoint):
    """`POST /v1/chat/completions`, as a bare ASGI application."""

    def __init__(self, service: ChatService, *, max_body_bytes: int) -> None:
        super().__init__(max_body_bytes=max_body_bytes)
        self._service = service

    async def answer(
        self, body: bytes, context: RequestContext, receive: Receive, send: Send
    ) -> None:
        request = read_chat_request(body)
        await self._service.answer(
            request,
            context,
            dialect=OPENAI_CHAT,
            writer=ChatWriter(send, wants_usage=request.wants_usage),
            receive=receive,
        )


class EmbeddingsEndpoint(BodyEndpoint):
    """`POST /v1/embeddings`, as a bare ASGI application."""

    def __init__(self, service: EmbeddingsService, *, max_body_bytes: int) -> None:
        super().__init__(max_body_bytes=max_body_bytes)
        self._service = service

    async def answer(
        self, body: bytes, context: RequestContext, receive: Receive, send: Send
    ) -> None:
        request = read_embeddings_request(body)
        await self._service.answer(request, context, receive=receive, send=send)


class ModelsEndpoint:
    """`GET /v1/models` and `GET /v1/models/{model}`, in the shape that the client knows."""

    def __init__(self, router: BackendRouter, encoder: ServedEncoder | None) -> None:
        self._router = router
        self._encoder = encoder

    async def list_models(self, request: Request) -> Response:
        served = await self._served()
        if _wants_anthropic(request):
            return json_response(list_page(served, request.query_params))
        # OpenAI's shape has no pages; a wrong limit is no less wrong.
        read_limit(request.query_params)
        return json_response({"object": "list", "data": [_describe_model(each) for each in served]})

    async def show_model(self, request: Request) -> Response:
        name = request.path_params["model"]
        served = await self._served()
        for model in served:
            if model.model_id == name:
                describe = describe_model if _wants_anthropic(request) else _describe_model
                return json_response(describe(model))
        raise ModelNotFound(name, [model.model_id for model in served])

    async def _served(self) -> list[ServedModel]:
        of_backends, of_encoder = await asyncio.gather(
            self._served_by_backends(), self._served_by_encoder()
        )
        served = of_backends + of_encoder
        grant = current_request.get().grant
        if grant is None:
            return served
        return [model for model in served if grant.allows_model(model.model_id)]

    async def _served_by_backends(self) -> list[ServedModel]:
        if self._router.is_empty:
            return [ServedModel(EXTRACTIVE_MODEL, 0, OWNER)]
        return await self._router.served_models()

    async def _served_by_encoder(self) -> list[ServedModel]:
        return [] if self._encoder is None else await self._encoder.served_models()


def json_response(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _wants_anthropic(request: Request) -> bool:
    return speaks_anthropic(request.url.path, current_request.get().headers)


def _describe_model(model: ServedModel) -> dict[str, object]:
    return {
        "id": model.model_id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owner,
    }
