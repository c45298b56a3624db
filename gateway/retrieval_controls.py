"""How a request steers retrieval: headers, and the body's extension field over them."""

import re
from dataclasses import dataclass

from contracts.settings import RetrievalSettings
from gateway.errors import InvalidRequest
from gateway.openai.requests import RetrievalControls
from knowledge.ports import NO_FILTERS, SearchFilters

_SWITCH = b"x-sluice-retrieval"
_TOP_K = b"x-sluice-top-k"
_COLLECTION = b"x-sluice-collection"
_MIN_SCORE = b"x-sluice-min-score"
_LARGEST_TOP_K = 100
_DECIMAL = re.compile(rb"-?([0-9]{1,4}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True)
class RetrievalPlan:
    """What one request wants of retrieval."""

    is_wanted: bool | None
    """None: search if there are documents."""
    top_k: int
    min_score: float | None = None
    filters: SearchFilters = NO_FILTERS


def plan_retrieval(
    body: RetrievalControls, headers: dict[bytes, bytes], settings: RetrievalSettings
) -> RetrievalPlan:
    """Combine the body's controls, the `X-Sluice-*` headers and the settings, in this order.

    Raises:
        InvalidRequest: a header has a value that is not allowed.
    """
    is_wanted = body.enabled
    if (switch := headers.get(_SWITCH)) is not None:
        from_header = _read_switch(switch)
        is_wanted = from_header if is_wanted is None else is_wanted
    if is_wanted is None and not settings.enabled:
        is_wanted = False
    top_k = settings.top_k
    if (header := headers.get(_TOP_K)) is not None:
        top_k = _read_top_k(header)
    min_score = settings.min_score
    if (header := headers.get(_MIN_SCORE)) is not None:
        min_score = _read_min_score(header)
    collection = None
    if (header := headers.get(_COLLECTION)) is not None:
        collection = _read_collection(header)
    return RetrievalPlan(
        is_wanted=is_wanted,
        top_k=top_k if body.top_k is None else body.top_k,
        min_score=min_score if body.min_score is None else body.min_score,
        filters=_filters_of(body, collection),
    )


def _filters_of(body: RetrievalControls, collection: str | None) -> SearchFilters:
    collections = tuple(body.collections or ())
    if body.collection is not None:
        collections = (body.collection, *collections)
    elif collection is not None and not collections:
        collections = (collection,)
    if not collections and not body.sources and not body.attributes:
        return NO_FILTERS
    return SearchFilters(
        collections=collections,
        sources=tuple(body.sources or ()),
        attributes=body.attributes or NO_FILTERS.attributes,
    )


def _read_switch(value: bytes) -> bool:
    switch = value.lower()
    if switch not in (b"on", b"off"):
        raise InvalidRequest(
            "X-Sluice-Retrieval must be 'on' or 'off'.", param="X-Sluice-Retrieval"
        )
    return switch == b"on"


def _read_top_k(value: bytes) -> int:
    top_k = int(value) if value.isdigit() and len(value) <= len(str(_LARGEST_TOP_K)) else 0
    if not 1 <= top_k <= _LARGEST_TOP_K:
        raise InvalidRequest(
            f"X-Sluice-Top-K must be a whole number from 1 to {_LARGEST_TOP_K}.",
            param="X-Sluice-Top-K",
        )
    return top_k


def _read_min_score(value: bytes) -> float:
    score = float(value) if _DECIMAL.fullmatch(value) else None
    if score is None or not -1 <= score <= 1:
        raise InvalidRequest(
            "X-Sluice-Min-Score must be a number from -1 to 1.", param="X-Sluice-Min-Score"
        )
    return score


def _read_collection(value: bytes) -> str:
    try:
        collection = value.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            "X-Sluice-Collection is not valid UTF-8.", param="X-Sluice-Collection"
        ) from error
    if not collection:
        raise InvalidRequest("X-Sluice-Collection is empty.", param="X-Sluice-Collection")
    return collection
