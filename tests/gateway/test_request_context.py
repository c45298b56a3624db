"""Correlation IDs and trace parents."""

import re
from datetime import UTC, datetime
from uuid import UUID

import aiohttp
import pytest

from contracts.event_ids import moment_of
from gateway.request_context import choose_correlation_id, read_traceparent
from tests.gateway.running_gateway import RunningGateway

TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({b"x-correlation-id": b"a", b"x-request-id": b"b"}, "a"),
        ({b"x-request-id": b"b"}, "b"),
        ({b"x-correlation-id": b"two words", b"x-request-id": b"b"}, "two words"),
        ({b"x-correlation-id": b"x" * 128}, "x" * 128),
        ({b"x-correlation-id": b"x" * 129, b"x-request-id": b"b"}, "b"),
        ({b"x-correlation-id": b"", b"x-request-id": b"b"}, "b"),
        ({b"x-correlation-id": b"tab\there", b"x-request-id": b"b"}, "b"),
        ({b"x-correlation-id": "é".encode(), b"x-request-id": b"b"}, "b"),
    ],
)
def test_choice_of_the_correlation_id(headers: dict[bytes, bytes], expected: str) -> None:
    assert choose_correlation_id(headers) == expected


def test_without_a_usable_header_the_id_is_made_from_the_time() -> None:
    first = choose_correlation_id({})
    second = choose_correlation_id({b"x-request-id": b"\xff"})
    assert UUID(first).version == UUID(second).version == 7
    moments = [moment_of(first), moment_of(second)]
    assert all(moment and abs(moment - datetime.now(UTC)).seconds < 5 for moment in moments)
    assert first != second


@pytest.mark.parametrize(
    "value",
    [
        TRACEPARENT.upper(),
        b"ff" + TRACEPARENT[2:],
        TRACEPARENT + b"-extra",
        TRACEPARENT[:-3],
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
    ],
)
def test_malformed_trace_parents_are_not_carried(value: bytes) -> None:
    assert read_traceparent({b"traceparent": value}) is None


def test_well_formed_trace_parents_are_carried() -> None:
    assert read_traceparent({b"traceparent": TRACEPARENT}) == TRACEPARENT.decode()
    later_version = b"01" + TRACEPARENT[2:] + b"-more"
    assert read_traceparent({b"traceparent": later_version}) == later_version.decode()


async def test_every_response_has_the_id(
    gateway: RunningGateway, client: aiohttp.ClientSession
) -> None:
    for path in ("/healthz", "/nothing", "/v1/models"):
        async with client.get(gateway.url + path, headers={"X-Request-ID": "r-1"}) as response:
            assert response.headers.getall("X-Correlation-ID") == ["r-1"]
        async with client.get(gateway.url + path) as response:
            assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["X-Correlation-ID"])
