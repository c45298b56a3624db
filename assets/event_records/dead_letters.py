"""Records messages that cannot be persisted, so that nothing is lost and nothing blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy
from sqlalchemy.dialects.postgresql import insert

from contracts.tables import dead_letters
from resources.batch_messages import StreamMessage

Reason = Literal[
    "undecodable",
    "unknown_schema_version",
    "constraint_violation",
    "deliveries_exceeded",
    "terminated",
]
"""`terminated`: by somebody else than a run, which records the letter before it terminates."""


@dataclass(frozen=True)
class DeadLetter:
    """A message, and why it could not become a row."""

    message: StreamMessage
    reason: Reason
    error: str


def record_dead_letters(
    connection: sqlalchemy.Connection, letters: Sequence[DeadLetter], *, stream: str, consumer: str
) -> int:
    """Write `letters` in the caller's transaction; return how many were new."""
    if not letters:
        return 0
    result = connection.execute(
        insert(dead_letters).on_conflict_do_nothing().returning(dead_letters.c.dead_letter_id),
        [
            {
                "stream": stream,
                "stream_sequence": letter.message.sequence,
                "published_at": letter.message.published_at,
                "subject": letter.message.subject,
                "consumer": consumer,
                "headers": {
                    name: storable(value) for name, value in letter.message.headers.items()
                },
                "body": letter.message.body,
                "reason": letter.reason,
                "error": storable(letter.error),
            }
            for letter in letters
        ],
    )
    return len(result.all())


def storable(text: str) -> str:
    """Return `text` as PostgreSQL takes it: its text has no NUL and no lone surrogates."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()
