"""The list of models as Anthropic's clients want it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from gateway.backends.router import ServedModel
from gateway.errors import InvalidRequest, ModelNotFound

_LARGEST_LIMIT = 1000


def describe_model(model: ServedModel) -> dict[str, object]:
    """Return one model; what its server does not tell is null."""
    created = datetime.fromtimestamp(model.created, UTC)
    return {
        "type": "model",
        "id": model.model_id,
        "display_name": model.model_id,
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
    }


def list_page(models: Sequence[ServedModel], query: Mapping[str, str]) -> dict[str, object]:
    """Return the page of `models` that `limit`, `after_id` and `before_id` ask for.

    Without a `limit` it is all of them: nobody has so many.

    Raises:
        InvalidRequest: `limit` is no number from 1 to 1,000.
        ModelNotFound: an ID is none of a model.
    """
    start, end = 0, len(models)
    names = [model.model_id for model in models]
    if (after := query.get("after_id")) is not None:
        start = _position(names, after) + 1
    if (before := query.get("before_id")) is not None:
        end = _position(names, before)
    page = list(models[start:end])
    limit = read_limit(query)
    has_more = limit < len(page)
    # Going backwards, the page is the one right before the ID.
    page = page[-limit:] if before is not None and after is None else page[:limit]
    return {
        "data": [describe_model(model) for model in page],
        "first_id": page[0].model_id if page else None,
        "has_more": has_more,
        "last_id": page[-1].model_id if page else None,
    }


def read_limit(query: Mapping[str, str]) -> int:
    """Return how many models a page has at most. Raises InvalidRequest."""
    value = query.get("limit")
    if value is None:
        return _LARGEST_LIMIT
    limit = int(value) if value.isascii() and value.isdigit() and len(value) < 5 else 0
    if not 1 <= limit <= _LARGEST_LIMIT:
        raise InvalidRequest(
            f"'limit' must be a whole number from 1 to {_LARGEST_LIMIT}.", param="limit"
        )
    return limit


def _position(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise ModelNotFound(name, list(names))
    return names.index(name)
