"""Keeps the events of erased subjects out of their tables, should they come again.

They come again from the stream, which keeps them for days, from a gateway's spool, or by a replay.
"""

from datetime import datetime

from psycopg import sql

from contracts.tables import TRANSACTION_ID

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


def rows_of_transaction(first: datetime, last: datetime) -> sql.Composable:
    """Return the condition of the rows that the present transaction has written, likewise.

    Args:
        first: moment of their oldest event, by which an index finds them.
        last: that of their youngest.
    """
    return sql.SQL(
        "staged.occurred_at BETWEEN {} AND {}"
        " AND staged.{} = ((pg_current_xact_id())::text)::bigint"
    ).format(sql.Literal(first), sql.Literal(last), sql.Identifier(TRANSACTION_ID))
