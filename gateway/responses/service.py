"""Answers requests of the Responses protocol by the chat completion core."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.types import Receive, Send

from contracts.settings import ResponsesSettings
from gateway.chat.service import ChatService
from gateway.errors import InvalidRequest
from gateway.request_context import RequestContext
from gateway.responses.builder import ResponseBuilder
from gateway.responses.chat_request import make_chat_request, retrieval_controls
from gateway.responses.conversation import ChatMessage, Conversation
from gateway.responses.ids import RESPONSE_PREFIX, new_id
from gateway.responses.items import (
    ITEM_REFERENCE,
    Item,
    ItemReference,
    convert,
    kind_of,
    with_ids,
)
from gateway.responses.native import NativeExchange, NativeWriter
from gateway.responses.requests import (
    ENCRYPTED_REASONING,
    SEARCH_RESULTS,
    ResponsesRequest,
)
from gateway.responses.response_object import new_response
from gateway.responses.store import NewResponse, ResponseStore, StoredConversation
from gateway.responses.truncation import drop_oldest_turns
from gateway.responses.writer import KeepResponse, ResponsesWriter

DIALECT = "openai.responses"

_MAX_REFERENCES = 2000


class ResponsesService:
    """Knows the state of conversations; the rest is the core's."""

    def __init__(
        self, chat: ChatService, store: ResponseStore, settings: ResponsesSettings
    ) -> None:
        self._chat = chat
        self._store = store
        self._settings = settings

    async def answer(
        self,
        request: ResponsesRequest,
        context: RequestContext,
        *,
        api_key_name: str,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer `request`, whole or streamed.

        A request that stores nothing and goes on from nothing touches no database.

        Raises:
            GatewayError: nothing has been sent yet, and the client is to be told this.
        """
        is_stored = self._settings.store if request.body.store is None else request.body.store
        continued: StoredConversation | None = None
        previous_id = request.body.previous_response_id
        if previous_id is not None:
            continued = await self._store.load_conversation(api_key_name, previous_id)
        items = await self._resolve_references(request.items, api_key_name)
        messages = await self._make_messages(request, items, continued)
        if request.body.truncation == "auto":
            messages = await self._truncate(messages, request, context)
        if is_stored and continued is None:
            # Before the model works for an answer that cannot be given.
            await self._store.require_available()
        response = new_response(request, new_id(RESPONSE_PREFIX), is_stored=is_stored)
        keep: KeepResponse | None = None
        if is_stored:
            keep = self._keeper(request, items, continued, api_key_name)
        writer = ResponsesWriter(
            send,
            ResponseBuilder(
                response,
                custom_names=request.tools.custom_names,
                reasoning_as_summary=request.reasoning_as_summary,
                seals_reasoning=ENCRYPTED_REASONING in request.include,
            ),
            is_streaming=request.is_streaming,
            shows_search=request.tools.file_search is not None,
            shows_results=SEARCH_RESULTS in request.include,
            keep=keep,
        )
        await self._chat.answer(
            make_chat_request(request, messages),
            context,
            dialect=DIALECT,
            writer=writer,
            receive=receive,
            native=self._make_native(request, items, continued, send, keep, is_stored=is_stored),
            on_grounding=writer.ground,
        )

    async def _resolve_references(self, items: Sequence[Item], api_key_name: str) -> list[Item]:
        """Return the items with stored ones in the places of references to them."""
        referred: list[str] = []
        for index, item in enumerate(items):
            if kind_of(item) == ITEM_REFERENCE:
                referred.append(convert(item, ItemReference, f"input[{index}]").id)
        if not referred:
            return list(items)
        if len(referred) > _MAX_REFERENCES:
            raise InvalidRequest(
                f"'input' refers to more than {_MAX_REFERENCES} items.", param="input"
            )
        found = await self._store.find_items(api_key_name, referred)
        return [found[item["id"]] if kind_of(item) == ITEM_REFERENCE else item for item in items]

    async def _make_messages(
        self,
        request: ResponsesRequest,
        items: Sequence[Item],
        continued: StoredConversation | None,
    ) -> list[ChatMessage]:
        earlier = [] if continued is None else continued.items

        def make() -> list[ChatMessage]:
            conversation = Conversation(request.body.instructions)
            conversation.add(earlier, "previous_response_id")
            conversation.add(items, "input")
            return conversation.messages()

        if any(_has_file(item) for item in (*earlier, *items)):
            # Reading a PDF takes seconds, which other requests would wait for.
            return await asyncio.to_thread(make)
        return make()

    async def _truncate(
        self, messages: list[ChatMessage], request: ResponsesRequest, context: RequestContext
    ) -> list[ChatMessage]:
        limit = await self._chat.find_prompt_limit(
            request.model,
            context,
            retrieval=retrieval_controls(request),
            answer_tokens=request.body.max_output_tokens,
        )
        if limit is None:
            return messages
        tools = msgspec.json.encode(request.tools.functions).decode()
        return drop_oldest_turns(messages, token_limit=limit, tools=tools)

    def _make_native(
        self,
        request: ResponsesRequest,
        items: Sequence[Item],
        continued: StoredConversation | None,
        send: Send,
        keep: KeepResponse | None,
        *,
        is_stored: bool,
    ) -> NativeExchange | None:
        """Return the call for a backend that speaks the protocol itself.

        None where the gateway does what no backend is known to do: searching files, tools with
        free text, reading files, sealing reasoning.
        """
        tools = request.tools
        if tools.file_search is not None or tools.custom_names:
            return None
        if ENCRYPTED_REASONING in request.include:
            return None
        expanded: Sequence[Item] | None = None
        changes: dict[str, Any] = {}
        if continued is not None:
            expanded = [*continued.items, *items]
            changes["previous_response_id"] = request.body.previous_response_id
        elif any(kind_of(item) == ITEM_REFERENCE for item in request.items):
            expanded = items
        if any(_has_file(item) for item in (items if expanded is None else expanded)):
            return None
        if is_stored != (request.body.store is not False):
            changes["store"] = is_stored
        return NativeExchange(request, expanded, NativeWriter(send, changes=changes, keep=keep))

    def _keeper(
        self,
        request: ResponsesRequest,
        items: Sequence[Item],
        continued: StoredConversation | None,
        api_key_name: str,
    ) -> KeepResponse:
        async def keep(response: Mapping[str, Any], document: bytes) -> None:
            await self._store.save(
                NewResponse(
                    response_id=response["id"],
                    api_key_name=api_key_name,
                    model=request.model,
                    status=response["status"],
                    input_items=with_ids(items),
                    response=document,
                    output_ids=[item["id"] for item in response["output"] if item.get("id")],
                    previous_response_id=request.body.previous_response_id,
                    continued=continued,
                )
            )

        return keep


def _has_file(item: Item) -> bool:
    content = item.get("content") or item.get("output")
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == "input_file" for part in content
    )
