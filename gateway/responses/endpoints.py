"""The endpoints below `/v1/responses`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send

from gateway.body_endpoint import BodyEndpoint
from gateway.errors import InvalidRequest
from gateway.openai.fields import invalid_type
from gateway.request_context import RequestContext, current_request
from gateway.responses.requests import read_responses_request
from gateway.responses.service import ResponsesService
from gateway.responses.store import ResponseStore

_LONGEST_ID = 512


class CreateResponseEndpoint(BodyEndpoint):
    """`POST /v1/responses`, as a bare ASGI application."""

    def __init__(self, service: ResponsesService, *, max_body_bytes: int) -> None:
        super().__init__(max_body_bytes=max_body_bytes)
        self._service = service

    async def answer(
        self, body: bytes, context: RequestContext, receive: Receive, send: Send
    ) -> None:
        await self._service.answer(
            read_responses_request(body),
            context,
            api_key_name=key_name_of(context),
            receive=receive,
            send=send,
        )


class StoredResponsesEndpoints:
    """What can be done with a response that was stored."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store

    async def show_or_delete(self, request: Request) -> Response:
        """`GET` and `DELETE /v1/responses/{response_id}`: one route, which knows both methods."""
        return await (self._delete if request.method == "DELETE" else self._show)(request)

    async def _show(self, request: Request) -> Response:
        if request.query_params.get("stream", "false") == "true":
            raise InvalidRequest(
                "Only a response that runs in the background can be streamed later, and this"
                " gateway runs none.",
                param="stream",
                code="unsupported_parameter",
            )
        document = await self._store.get(_key_name(), _response_id(request))
        return Response(document, media_type="application/json")

    async def _delete(self, request: Request) -> Response:
        response_id = _response_id(request)
        await self._store.delete(_key_name(), response_id)
        return _json({"id": response_id, "object": "response", "deleted": True})

    async def list_input_items(self, request: Request) -> Response:
        """`GET /v1/responses/{response_id}/input_items`"""
        page = _read_page(request.query_params)
        items = await self._store.input_items(_key_name(), _response_id(request))
        if page.order == "desc":
            items.reverse()
        start = 0
        if page.after is not None:
            ids = [item["id"] for item in items]
            if page.after not in ids:
                raise InvalidRequest(f"Item with id '{page.after}' not found.", param="after")
            start = ids.index(page.after) + 1
        shown = items[start : start + page.limit]
        return _json(
            {
                "object": "list",
                "data": shown,
                "first_id": shown[0]["id"] if shown else None,
                "last_id": shown[-1]["id"] if shown else None,
                "has_more": start + page.limit < len(items),
            }
        )

    async def cancel(self, request: Request) -> Response:
        """`POST /v1/responses/{response_id}/cancel`: what is there is over."""
        await self._store.get(_key_name(), _response_id(request))
        raise InvalidRequest(
            "Cannot cancel a synchronous response: only one that runs in the background can be.",
            param="response_id",
            code=None,
        )


class _Page(Struct):
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: Annotated[str, Meta(max_length=_LONGEST_ID)] | None = None
    order: str = "desc"


def key_name_of(context: RequestContext) -> str:
    """Return the name of the client's API key; empty for a client without one."""
    return "" if context.grant is None else context.grant.key_name


def _key_name() -> str:
    return key_name_of(current_request.get())


def _response_id(request: Request) -> str:
    return str(request.path_params["response_id"])


def _read_page(parameters: QueryParams) -> _Page:
    given: dict[str, Any] = {
        name: parameters[name] for name in ("limit", "after", "order") if name in parameters
    }
    try:
        page = msgspec.convert(given, _Page, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_type(error) from error
    if page.order not in ("asc", "desc"):
        raise InvalidRequest(
            f"Invalid value: '{page.order}'. Supported values are: 'asc' and 'desc'.",
            param="order",
        )
    return page


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
