"""The document at `/openapi.json`."""

import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.routing import Route

from contracts.settings import Settings
from gateway.app import create_app
from gateway.openapi.document import openapi_document
from tests.gateway.conftest import StartGateway


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(openapi_document())


def test_it_lists_exactly_the_routes_of_the_application(document: Any, tmp_path: Path) -> None:
    """A route that is added belongs into one of the modules of `gateway/openapi`."""
    app = create_app(Settings(data_dir=tmp_path))
    served = {
        (method.lower(), re.sub(r":\w+}", "}", route.path))
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {
        (method, path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == served


def test_every_reference_leads_somewhere(document: Any) -> None:
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert references == set(document["components"]["schemas"])


def test_names_of_operations_are_unique(document: Any) -> None:
    names = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    assert len(names) == len(set(names))


def test_our_own_structs_are_in_it(document: Any) -> None:
    controls = document["components"]["schemas"]["RetrievalControls"]
    assert controls["additionalProperties"] is False
    assert controls["properties"]["top_k"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
    }


async def test_it_is_served(start_gateway: StartGateway, client: aiohttp.ClientSession) -> None:
    async with client.get(f"{start_gateway().url}/openapi.json") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert await response.read() == openapi_document()
