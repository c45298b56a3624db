"""How many tokens a prompt has, what retrieval adds to it included."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from msgspec import Raw, Struct

from gateway.backends.http import HttpBackend
from gateway.backends.requests import BackendRequest
from gateway.backends.route import ModelRoute
from gateway.backends.router import BackendRouter
from gateway.chat.grounding import Grounding, ground_prompt
from gateway.errors import BackendError, ModelNotFound
from gateway.extractive import MODEL as EXTRACTIVE_MODEL
from gateway.openai.requests import ChatRequest
from gateway.request_context import RequestContext
from gateway.retrieval import Retriever
from gateway.retrieval_controls import plan_retrieval
from knowledge.composition import inject_context
from knowledge.prompt_budget import estimate_prompt_tokens
from knowledge.queries import extract_user_query

_TEMPLATE_PATH = "/apply-template"
_TOKENIZE_PATH = "/tokenize"
_TEMPLATE_FIELDS = ("messages", "tools", "tool_choice", "response_format", "chat_template_kwargs")
_IMAGE = b'"image_url"'
"""Templates write a placeholder for an image, and its tokens are counted nowhere."""

_log = structlog.get_logger("gateway.tokens")

_encoder = msgspec.json.Encoder()


class _Template(Struct):
    prompt: str


class _Tokens(Struct):
    """vLLM gives `count`, llama.cpp the tokens alone."""

    tokens: list[Raw]
    count: int | None = None


_template_decoder = msgspec.json.Decoder(_Template)
_tokens_decoder = msgspec.json.Decoder(_Tokens)


class _NotCounted(Exception):
    """The backend has no tokenizer to ask, or did not answer."""


@dataclass(frozen=True)
class TokenCount:
    """The tokens of a prompt."""

    input_tokens: int
    """All of them."""
    retrieved_tokens: int
    """Those of them that retrieval adds."""
    is_estimate: bool
    """Counted by the gateway's rule of thumb, not by the model's tokenizer."""
    grounding: Grounding | None
    """What retrieval did; None where it was not due."""


class TokenCounter:
    """Counts with the tokenizer of the backend that would answer."""

    def __init__(self, router: BackendRouter, retriever: Retriever) -> None:
        self._router = router
        self._retriever = retriever

    async def count(self, request: ChatRequest, context: RequestContext) -> TokenCount:
        """Count the prompt as `ChatService.answer` would send it.

        Raises:
            GatewayError: the request cannot be answered.
        """
        context.require_model(request.model)
        plan = plan_retrieval(request.retrieval, context.headers, self._retriever.settings)
        context.model = request.model
        if self._router.is_empty:
            if request.model != EXTRACTIVE_MODEL:
                raise ModelNotFound(request.model, [EXTRACTIVE_MODEL])
            return TokenCount(_estimate(request, request.conversation), 0, True, None)
        route = await self._router.route(request.model)
        context.backend = route.backend
        grounding = None
        if self._retriever.is_due(plan) and (query := extract_user_query(request.conversation)):
            grounding = ground_prompt(
                await self._retriever.search(query, plan),
                request,
                token_budget=self._retriever.settings.token_budget,
                context_length=route.context_length,
            )
        prompts = [request.conversation]
        if grounding is not None and grounding.context is not None:
            prompts.append(inject_context(request.conversation, grounding.context))
        counts, is_estimate = await self._count_prompts(route, request, prompts, context)
        return TokenCount(counts[-1], counts[-1] - counts[0], is_estimate, grounding)

    async def _count_prompts(
        self,
        route: ModelRoute,
        request: ChatRequest,
        prompts: Sequence[list[dict[str, Any]]],
        context: RequestContext,
    ) -> tuple[list[int], bool]:
        """Return the tokens of each prompt, and whether they are estimates."""
        try:
            exact = await asyncio.gather(
                *(_count_by_backend(route, request, prompt, context) for prompt in prompts)
            )
        except (_NotCounted, BackendError) as error:
            _log.info("tokens are estimated", backend=route.backend, reason=str(error))
            return [_estimate(request, prompt) for prompt in prompts], True
        return list(exact), _IMAGE in bytes(request.messages)


async def _count_by_backend(
    route: ModelRoute,
    request: ChatRequest,
    conversation: list[dict[str, Any]],
    context: RequestContext,
) -> int:
    """Return the tokens of the prompt that the model's template makes.

    vLLM applies the template itself (`/tokenize` with messages); llama.cpp first tells the prompt
    (`/apply-template`). Other servers are asked in vLLM's manner, which many have taken over.
    """
    fields: dict[str, object] = {
        name: request.fields[name] for name in _TEMPLATE_FIELDS if name in request.fields
    }
    fields["messages"] = conversation

    def build(backend: HttpBackend, model: str) -> BackendRequest:
        if backend.kind == "llamacpp":
            return BackendRequest(_TEMPLATE_PATH, _encoder.encode({**fields, "model": model}))
        # The others of the fields are none of this request's in vLLM.
        template = {name: fields[name] for name in fields if name not in _TEMPLATE_FIELDS[2:4]}
        body = _encoder.encode({**template, "model": model, "add_generation_prompt": True})
        return BackendRequest(_TOKENIZE_PATH, body)

    def build_tokenize(_backend: HttpBackend, model: str) -> BackendRequest:
        content = {"content": prompt, "add_special": True, "parse_special": True, "model": model}
        return BackendRequest(_TOKENIZE_PATH, _encoder.encode(content))

    path, body = await _ask(route, build, context)
    try:
        if path == _TEMPLATE_PATH:
            prompt = _template_decoder.decode(body).prompt
            _, body = await _ask(route, build_tokenize, context)
        counted = _tokens_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _NotCounted(f"its tokenizer's answer cannot be read: {error}") from error
    return len(counted.tokens) if counted.count is None else counted.count


async def _ask(route: ModelRoute, build: Any, context: RequestContext) -> tuple[str, bytes]:
    # No API of its own: any backend that can answer the client may be asked.
    answer = await route.open(build, context, "messages")
    try:
        body = await answer.read_all()
    finally:
        answer.close()
    if answer.status != 200:
        raise _NotCounted(f"it answered {answer.path} with status {answer.status}")
    return answer.path, body


def _estimate(request: ChatRequest, conversation: Sequence[dict[str, Any]]) -> int:
    tools = bytes(request.tools or b"").decode(errors="replace")
    return estimate_prompt_tokens(conversation, tools=tools)
