"""IDs of responses and their items."""

from contracts.event_ids import new_event_id

RESPONSE_PREFIX = "resp"

_LONGEST_ID = 512


def new_id(prefix: str) -> str:
    """Return a new ID, as in `resp_0198…`: it tells when it was made, and 74 of its bits cannot
    be guessed."""
    return f"{prefix}_{new_event_id()[0].replace('-', '')}"


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can hold the text: it takes neither NUL nor lone surrogates."""
    return text.isprintable() and len(text) <= _LONGEST_ID
