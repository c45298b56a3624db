"""schemathesis over the OpenAPI document: what it says is what the gateway does."""

import json

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
    case.call_and_validate(base_url=gateway.url, timeout=30)
