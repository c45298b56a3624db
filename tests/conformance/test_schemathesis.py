"""schemathesis over the OpenAPI document: what it says is what the gateway does."""

import json
from typing import Any

import schemathesis

from gateway.openapi.document import openapi_document
from tests.conformance.deliveries import profile
from tests.gateway.running_gateway import RunningGateway

document = schemathesis.openapi.from_dict(json.loads(openapi_document()))


def test_document_is_valid() -> None:
    document.validate()


@document.parametrize()
@profile(40)
def test_route_keeps_to_the_document(case: schemathesis.Case, gateway: RunningGateway) -> None:
    case.body = _sendable(case.body)
    case.call_and_validate(base_url=gateway.url, timeout=30)


def _sendable(body: Any) -> Any:
    """Return a body without what no schema can exclude.

    That is 18.0, which JSON Schema takes for an integer and no client writes for one, and a
    previous response, of which there is none.
    """
    if isinstance(body, dict):
        return {
            name: _sendable(value)
            for name, value in body.items()
            if not (name == "previous_response_id" and isinstance(value, str))
        }
    if isinstance(body, list):
        return [_sendable(each) for each in body]
    return int(body) if isinstance(body, float) and body.is_integer() else body
