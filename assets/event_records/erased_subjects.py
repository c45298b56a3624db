"""Keeps the events of erased subjects out of their tables, should they come again.

They come again from the stream, which keeps them for days, from a gateway's spool, or by a replay.
"""

from psycopg import sql

_BY_SUBJECT = sql.SQL(" OR ").join(
    sql.SQL(
        "EXISTS (SELECT FROM erasure_requests AS erasure"
        " WHERE erasure.subject_kind = {kind} AND erasure.subject = staged.{column}"
        " AND staged.occurred_at <= erasure.requested_at)"
    ).format(kind=sql.Literal(column), column=sql.Identifier(column))
    for column in ("correlation_id", "api_key_name")
)
# The first part is evaluated once: where nobody was erased, a batch is not looked through.
IS_ERASED = sql.SQL("EXISTS (SELECT FROM erasure_requests) AND ({})").format(_BY_SUBJECT)
"""For the rows of an event table, called `staged`."""
