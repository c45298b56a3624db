"""One PostgreSQL server under several names of a URL."""

from urllib.parse import parse_qsl, urlencode

from contracts.host_silence import (
    IDLE_SECONDS,
    INTERVAL_SECONDS,
    UNACKNOWLEDGED_SECONDS,
    UNANSWERED_QUESTIONS,
)

_LIVENESS = {
    "keepalives_idle": str(IDLE_SECONDS),
    "keepalives_interval": str(INTERVAL_SECONDS),
    "keepalives_count": str(UNANSWERED_QUESTIONS),
    "tcp_user_timeout": str(UNACKNOWLEDGED_SECONDS * 1000),
}
"""https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS"""


def database_beside(database_url: str, name: str) -> str:
    """Return the URL of the database `name` on the same server as `database_url`."""
    # By hand: urllib takes the slashes of `postgresql:///…`, a socket's URL, away.
    address, mark, parameters = database_url.partition("?")
    scheme, _, rest = address.partition("://")
    authority, _, _ = rest.partition("/")
    return f"{scheme}://{authority}/{name}{mark}{parameters}"


def with_psycopg(database_url: str) -> str:
    """Return a libpq URL as SQLAlchemy wants it: with the driver's name, psycopg 3."""
    _, separator, rest = database_url.partition("://")
    return f"postgresql+psycopg{separator}{rest}"


def with_liveness(database_url: str) -> str:
    """Return a libpq URL whose connections end soon after the server's host is silent.

    What the URL says itself stays.
    """
    _, mark, parameters = database_url.partition("?")
    said = dict(parse_qsl(parameters, keep_blank_values=True))
    added = urlencode({name: value for name, value in _LIVENESS.items() if name not in said})
    if not added:
        return database_url
    return f"{database_url}{'&' if mark else '?'}{added}"
