"""Responses that clients come back to, in the table `api_responses`.

What is written here can be read at once, by every gateway: a response is stored before the client
is told that it is complete. Every statement names the client's key, so a foreign response is one
that does not exist.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import msgspec
import structlog
from psycopg.rows import class_row

from contracts.settings import ResponsesSettings
from gateway.responses.errors import (
    ConversationTooLong,
    ItemNotFound,
    PreviousResponseFailed,
    PreviousResponseNotFound,
    ReferencesTooLarge,
    ResponseNotFound,
    StoreUnavailable,
)
from gateway.responses.ids import is_storable
from gateway.responses.items import Item
from knowledge.database_pool import DATABASE_ERRORS, Connection, DatabasePool

_RENEWAL_STEP = timedelta(hours=1)
"""How much longer a response must be kept for it to be worth an update."""

# Backwards from the newest; `bytes` is the size of all rows so far.
_LOAD_CONVERSATION = """
    WITH RECURSIVE turns AS (
        SELECT 1 AS turn, response_id, previous_response_id, status, input_items, response,
            expires_at, size_bytes::bigint AS bytes
        FROM api_responses
        WHERE response_id = %(response_id)s AND api_key_name = %(api_key_name)s
            AND expires_at > now()
        UNION ALL
        SELECT turns.turn + 1, earlier.response_id, earlier.previous_response_id, earlier.status,
            earlier.input_items, earlier.response, earlier.expires_at,
            turns.bytes + earlier.size_bytes
        FROM turns
        JOIN api_responses AS earlier ON earlier.response_id = turns.previous_response_id
        WHERE earlier.api_key_name = %(api_key_name)s
            AND earlier.expires_at > now()
            AND turns.turn < %(max_turns)s
            AND turns.bytes <= %(max_bytes)s
    )
    SELECT turn, response_id, previous_response_id, status, input_items::text AS input_items,
        response::text AS response, expires_at, bytes
    FROM turns
    ORDER BY turn DESC
    """
_HOLDERS = """
    FROM api_responses
    WHERE item_ids && %(item_ids)s::text[] AND api_key_name = %(api_key_name)s
        AND expires_at > now()
    """
_SIZE_OF_HOLDERS = f"SELECT coalesce(sum(size_bytes), 0) {_HOLDERS}"
_READ_HOLDERS = f"SELECT input_items::text, response::text {_HOLDERS}"
_INSERT = """
    INSERT INTO api_responses (response_id, api_key_name, previous_response_id, model, status,
        input_items, response, item_ids, size_bytes, expires_at)
    VALUES (%(response_id)s, %(api_key_name)s, %(previous_response_id)s, %(model)s, %(status)s,
        %(input_items)s::json, %(response)s::json, %(item_ids)s, %(size_bytes)s, %(expires_at)s)
    """
# Two calls that go on from one response would wait for each other's rows: one does it.
_RENEW = """
    UPDATE api_responses SET expires_at = %(expires_at)s WHERE response_id IN (
        SELECT response_id FROM api_responses
        WHERE response_id = ANY(%(response_ids)s) AND api_key_name = %(api_key_name)s
            AND expires_at < %(expires_at)s
        FOR UPDATE SKIP LOCKED
    )
    """
_ONE = """
    FROM api_responses
    WHERE response_id = %(response_id)s AND api_key_name = %(api_key_name)s AND expires_at > now()
    """
_READ_RESPONSE = f"SELECT response::text {_ONE}"
_READ_INPUT_ITEMS = f"SELECT input_items::text {_ONE}"
_DELETE = f"DELETE {_ONE}"


_encode = msgspec.json.Encoder().encode
_items_decoder = msgspec.json.Decoder(list[dict[str, Any]])


class _Response(msgspec.Struct):
    output: list[dict[str, Any]]


# Not by PostgreSQL's `->`, which fails where a string in the document holds an escaped NUL.
_response_decoder = msgspec.json.Decoder(_Response)

_log = structlog.get_logger("gateway.responses")


@dataclass(frozen=True, slots=True)
class _Turn:
    turn: int
    response_id: str
    previous_response_id: str | None
    status: str
    input_items: str
    response: str
    expires_at: datetime
    bytes: int


@dataclass(frozen=True)
class StoredConversation:
    """What was said up to a stored response."""

    items: list[Item]
    """Input and output of every turn, in order."""
    response_ids: list[str]
    expires_at: datetime
    """When the first of the turns is to go."""


@dataclass(frozen=True)
class NewResponse:
    """A response to be stored."""

    response_id: str
    api_key_name: str
    model: str
    status: str
    input_items: Sequence[Item]
    """Of this turn alone."""
    response: bytes
    """JSON, as the client gets it."""
    output_ids: Sequence[str]
    previous_response_id: str | None = None
    continued: StoredConversation | None = field(default=None)
    """The turns before, which are kept as long as this one."""


class ResponseStore:
    """Reads and writes `api_responses`. Every failure of the database is `StoreUnavailable`."""

    def __init__(self, database: DatabasePool, settings: ResponsesSettings) -> None:
        """
        Args:
            database: migrated. Stays the caller's to close.
        """
        self._database = database
        self._settings = settings
        self._lifetime = timedelta(seconds=settings.max_age_seconds)
        self._is_reachable = True
        self._written_keys: set[str] = set()

    async def require_available(self) -> None:
        """Return if a response could be stored now. Raises StoreUnavailable."""
        async with self._connect():
            pass

    async def load_conversation(self, api_key_name: str, response_id: str) -> StoredConversation:
        """Return what was said up to the response, whole.

        Raises:
            PreviousResponseNotFound: it, or one before it, is not there.
            PreviousResponseFailed: there is no answer to go on from.
            ConversationTooLong: it is longer than the settings allow.
            StoreUnavailable: the database did not answer.
        """
        settings = self._settings
        if not is_storable(response_id):
            raise PreviousResponseNotFound(response_id)
        async with self._connect() as connection:
            cursor = connection.cursor(row_factory=class_row(_Turn))
            await cursor.execute(
                _LOAD_CONVERSATION,
                {
                    "response_id": response_id,
                    "api_key_name": api_key_name,
                    "max_turns": settings.max_turns,
                    "max_bytes": settings.max_conversation_bytes,
                },
            )
            turns = await cursor.fetchall()
        if not turns:
            raise PreviousResponseNotFound(response_id)
        first = turns[0]
        is_too_long = first.bytes > settings.max_conversation_bytes
        if is_too_long or (
            first.previous_response_id is not None and first.turn >= settings.max_turns
        ):
            raise ConversationTooLong(response_id)
        if first.previous_response_id is not None:
            raise PreviousResponseNotFound(first.previous_response_id)
        if turns[-1].status == "failed":
            raise PreviousResponseFailed(response_id)
        items: list[Item] = []
        for turn in turns:
            items += _items_decoder.decode(turn.input_items)
            items += _response_decoder.decode(turn.response).output
        return StoredConversation(
            items=items,
            response_ids=[turn.response_id for turn in turns],
            expires_at=min(turn.expires_at for turn in turns),
        )

    async def find_items(self, api_key_name: str, item_ids: Sequence[str]) -> dict[str, Item]:
        """Return the stored items of these IDs.

        Raises:
            ItemNotFound: one is not there.
            ReferencesTooLarge: the responses that hold them are larger than the settings allow.
            StoreUnavailable: the database did not answer.
        """
        wanted = {item_id for item_id in item_ids if is_storable(item_id)}
        names = {"item_ids": sorted(wanted), "api_key_name": api_key_name}
        found: dict[str, Item] = {}
        async with self._connect() as connection:
            size = await (await connection.execute(_SIZE_OF_HOLDERS, names)).fetchone()
            if size is None or size[0] > self._settings.max_conversation_bytes:
                raise ReferencesTooLarge
            rows = await (await connection.execute(_READ_HOLDERS, names)).fetchall()
        for input_items, response in rows:
            output = _response_decoder.decode(response).output
            for item in (*_items_decoder.decode(input_items), *output):
                if item.get("id") in wanted:
                    found[item["id"]] = item
        for item_id in item_ids:
            if item_id not in found:
                raise ItemNotFound(item_id)
        return found

    async def save(self, new: NewResponse) -> None:
        """Store a response, and keep the turns before it as long. Raises StoreUnavailable."""
        expires_at = datetime.now(UTC) + self._lifetime
        input_items = _encode(new.input_items)
        item_ids = [item["id"] for item in new.input_items] + list(new.output_ids)
        async with self._connect() as connection:
            await connection.execute(
                _INSERT,
                {
                    "response_id": new.response_id,
                    "api_key_name": new.api_key_name,
                    "previous_response_id": new.previous_response_id,
                    "model": new.model,
                    "status": new.status,
                    "input_items": input_items.decode(),
                    "response": new.response.decode(),
                    "item_ids": item_ids,
                    "size_bytes": len(input_items) + len(new.response),
                    "expires_at": expires_at,
                },
            )
            if (
                new.continued is not None
                and new.continued.expires_at < expires_at - self._renewal_step
            ):
                await connection.execute(
                    _RENEW,
                    {
                        "response_ids": new.continued.response_ids,
                        "api_key_name": new.api_key_name,
                        "expires_at": expires_at,
                    },
                )
            await connection.commit()
        self._written_keys.add(new.api_key_name)

    def take_written_keys(self) -> set[str]:
        """Return the names of keys that stored something since this was last called."""
        taken, self._written_keys = self._written_keys, set()
        return taken

    async def get(self, api_key_name: str, response_id: str) -> bytes:
        """Return the response as JSON. Raises ResponseNotFound, StoreUnavailable."""
        return (await self._read(api_key_name, response_id, _READ_RESPONSE)).encode()

    async def input_items(self, api_key_name: str, response_id: str) -> list[dict[str, Any]]:
        """Return the input items of the response's own turn.

        Raises ResponseNotFound, StoreUnavailable.
        """
        return _items_decoder.decode(await self._read(api_key_name, response_id, _READ_INPUT_ITEMS))

    async def delete(self, api_key_name: str, response_id: str) -> None:
        """Remove a response; conversations that came by it end there.

        Raises ResponseNotFound, StoreUnavailable.
        """
        if not is_storable(response_id):
            raise ResponseNotFound(response_id)
        async with self._connect() as connection:
            deleted = await connection.execute(
                _DELETE, {"response_id": response_id, "api_key_name": api_key_name}
            )
            await connection.commit()
        if deleted.rowcount == 0:
            raise ResponseNotFound(response_id)

    async def _read(self, api_key_name: str, response_id: str, statement: LiteralString) -> str:
        if not is_storable(response_id):
            raise ResponseNotFound(response_id)
        async with self._connect() as connection:
            found = await connection.execute(
                statement, {"response_id": response_id, "api_key_name": api_key_name}
            )
            row = await found.fetchone()
        if row is None:
            raise ResponseNotFound(response_id)
        value: str = row[0]
        return value

    @property
    def _renewal_step(self) -> timedelta:
        return min(_RENEWAL_STEP, self._lifetime / 10)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Connection]:
        try:
            async with (
                asyncio.timeout(self._settings.timeout_seconds),
                self._database.connection() as connection,
            ):
                yield connection
        except (*DATABASE_ERRORS, TimeoutError) as error:
            # One line for each change: while the database is away, every request would have one.
            if self._is_reachable:
                _log.warning("responses cannot be stored or read", error=describe_failure(error))
            self._is_reachable = False
            raise StoreUnavailable from error
        if not self._is_reachable:
            _log.info("responses can be stored and read again")
        self._is_reachable = True


def describe_failure(error: Exception) -> str:
    """Return what a database said."""
    return str(error).strip() or type(error).__name__
