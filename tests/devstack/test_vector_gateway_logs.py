"""The agent that carries the gateway's log lines to Loki."""

import json
from typing import Any

import msgspec
import pytest

from gateway.logs import RequestLog
from tests.support.vector_double import VectorDouble, load, run_unit_test, unit_tests
from tests.support.vector_keys import KNOWN_KEYS, KNOWN_SECTIONS

FILES = ("gateway-logs.yaml", "gateway-logs.tests.yaml")
CONFIG = load(*FILES)


@pytest.mark.parametrize("test", unit_tests(*FILES), ids=lambda test: test["name"])
def test_vectors_own_unit_tests(test: dict[str, Any]) -> None:
    run_unit_test(VectorDouble.of(*FILES), test)


class Lines:
    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def info(self, line: bytes) -> None:
        self.lines.append(line)


def test_a_request_line_of_the_gateway_keeps_its_correlation_id() -> None:
    output, log = Lines(), RequestLog()
    log.configure(output, msgspec.json.encode)  # type: ignore[arg-type]
    log.write({"method": "POST", "status": 200, "correlation_id": "request-7"})
    (line,) = output.lines
    assert json.loads(line)["correlation_id"] == "request-7"
    outputs = VectorDouble.of(*FILES).feed("gateway_line", {"message": line.decode()})
    (event,) = outputs["gateway_line"]
    assert (event["correlation_id"], event["level"]) == ("request-7", "info")


def test_the_components_are_known_and_the_id_is_no_label() -> None:
    assert set(CONFIG) <= KNOWN_SECTIONS
    for section in ("sources", "transforms", "sinks"):
        for name, settings in CONFIG[section].items():
            assert set(settings) <= KNOWN_KEYS[settings["type"]], name
    loki = CONFIG["sinks"]["loki"]
    assert set(loki["labels"]) == {"source", "level"}
    assert "correlation_id" in loki["structured_metadata"]
    for transform in CONFIG["transforms"].values():
        assert "$" not in transform["source"]
