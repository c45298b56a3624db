"""PyIceberg's REST catalog as Nessie needs it, and with an end to its waiting."""

import json
from typing import Any

from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.schema import Schema
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

TIMEOUT_SECONDS = 60.0


class NessieCatalog(RestCatalog):
    """A REST catalog whose calls fail when the server does not answer, and which adds columns.

    PyIceberg 0.12 sets no timeout and has no setting for one: a batch would wait for ever, and
    keep its table's lock. `_create_session` is the one place where the catalog's HTTP session can
    be had before the first call.
    """

    def _create_session(self) -> Session:
        session = super()._create_session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _NessieAdapter())
        return session


class _NessieAdapter(HTTPAdapter):
    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        if request.method == "POST" and request.body and b'"add-schema"' in _bytes(request.body):
            body = json.loads(request.body)
            _name_last_columns(body)
            request.prepare_body(json.dumps(body).encode(), files=None)
        return super().send(request, *arguments, **{**options, "timeout": TIMEOUT_SECONDS})


def _name_last_columns(commit: dict[str, Any]) -> None:
    """Give each added schema its `last-column-id`.

    Iceberg's REST specification has it deprecated and optional, PyIceberg leaves it out, and Nessie
    0.99 refuses a schema without it.
    """
    for update in commit.get("updates", ()):
        if update["action"] == "add-schema":
            highest = Schema.model_validate(update["schema"]).highest_field_id
            update.setdefault("last-column-id", highest)


def _bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body
