"""Vector's configuration: its transforms by the real VRL, its names against the lists."""

import re
from typing import Any

import msgspec
import pytest

from contracts.events import encode_event, new_event
from contracts.metrics import telemetry
from contracts.metrics.definition import Exposer
from contracts.metrics.listing import metrics_of
from contracts.payloads import (
    ChatTelemetry,
    EmbeddingTelemetry,
    RetrievalTelemetry,
    TokenUsage,
    ToolCallTelemetry,
)
from contracts.streams import TELEMETRY, TELEMETRY_CONSUMER, stream_configs
from contracts.subjects import TelemetrySubject
from sluice.servers.credentials import Credentials
from tests.support.checkout import PROJECT_ROOT
from tests.support.vector_double import (
    VectorDouble,
    load,
    run_unit_test,
    run_vrl,
    unit_tests,
)
from tests.support.vector_keys import KNOWN_KEYS, KNOWN_METRIC_KEYS, KNOWN_SECTIONS

FILES = ("vector.yaml", "vector.tests.yaml")
CONFIG = load(*FILES)
METRICS = {each.name: each for each in metrics_of(Exposer.TELEMETRY)}
MADE = [
    (transform, metric)
    for transform, settings in CONFIG["transforms"].items()
    if settings["type"] == "log_to_metric"
    for metric in settings["metrics"]
]


@pytest.mark.parametrize("test", unit_tests(*FILES), ids=lambda test: test["name"])
def test_vectors_own_unit_tests(test: dict[str, Any]) -> None:
    run_unit_test(VectorDouble.of(*FILES), test)


def test_a_unit_test_can_fail() -> None:
    (test, *_) = unit_tests(*FILES)
    wrong = {"type": "vrl", "source": 'assert_eq!(.kind, "embedding")'}
    test["outputs"][0]["conditions"] = [wrong]
    with pytest.raises(AssertionError, match="decoded"):
        run_unit_test(VectorDouble.of(*FILES), test)


def test_the_metrics_are_the_listed_ones_with_their_labels() -> None:
    assert {metric["name"] for _, metric in MADE} == set(METRICS)
    for _, made in MADE:
        listed = METRICS[made["name"]]
        assert made["type"] == listed.kind
        assert set(made["tags"]) == set(listed.label_names), listed.name
        if listed.kind == "histogram":
            assert tuple(CONFIG["sinks"]["prometheus"]["buckets"]) == listed.buckets
    limit = CONFIG["transforms"]["limited_metrics"]["value_limit"]
    assert limit == telemetry.MOST_TAG_VALUES


def test_every_metric_goes_through_the_limit_to_the_exporter() -> None:
    limited = CONFIG["transforms"]["limited_metrics"]
    assert set(limited["inputs"]) == {transform for transform, _ in MADE}
    assert "limited_metrics" in CONFIG["sinks"]["prometheus"]["inputs"]
    assert CONFIG["sinks"]["prometheus"]["address"].endswith(":9598}")


def test_the_source_is_the_stream_and_the_durable_that_we_make() -> None:
    source = CONFIG["sources"]["telemetry"]
    assert source["jetstream"]["stream"] == TELEMETRY
    assert source["jetstream"]["consumer"] == TELEMETRY_CONSUMER
    (stream,) = [each for each in stream_configs() if each.name == TELEMETRY]
    assert [source["subject"]] == stream.subjects
    user = source["auth"]["user_password"]["user"]
    assert f"nats_{user}" in Credentials.__struct_fields__
    assert source["auth"]["user_password"]["password"] == f"SECRET[files.nats_{user}_password]"


def test_the_containers_vector_knows_jetstream() -> None:
    """Its `nats` source does from 0.50 on."""
    compose = (PROJECT_ROOT / "platform" / "devstack" / "compose.yaml").read_text()
    (version,) = set(re.findall(r"timberio/vector:(\d+\.\d+)", compose))
    assert tuple(map(int, version.split("."))) >= (0, 50)


def test_the_correlation_id_is_no_label() -> None:
    loki = CONFIG["sinks"]["loki"]
    assert set(loki["labels"]) == {"source", "kind", "status"}
    assert loki["structured_metadata"]["correlation_id"] == "{{ correlation_id }}"


def test_components_have_known_keys_and_inputs() -> None:
    assert set(CONFIG) <= KNOWN_SECTIONS
    outputs = {*CONFIG["sources"], *CONFIG["transforms"]}
    for name, settings in CONFIG["transforms"].items():
        outputs |= {f"{name}.{route}" for route in settings.get("route", ())}
        if settings.get("reroute_dropped"):
            outputs.add(f"{name}.dropped")
    for section in ("sources", "transforms", "sinks"):
        for name, settings in CONFIG[section].items():
            assert set(settings) <= KNOWN_KEYS[settings["type"]], name
            assert set(settings.get("inputs", ())) <= outputs, name
    for _, metric in MADE:
        assert set(metric) <= KNOWN_METRIC_KEYS


def test_nothing_in_a_program_looks_like_a_variable_of_the_environment() -> None:
    """Vector fills in `$NAME` everywhere, programs included."""
    for settings in CONFIG["transforms"].values():
        assert "$" not in settings.get("source", "")


PAYLOADS = [
    (
        TelemetrySubject.CHAT,
        ChatTelemetry(
            model="qwen3",
            backend="vllm",
            dialect="openai.responses",
            status="cancelled",
            is_streaming=True,
            usage=TokenUsage(prompt_tokens=7),
            duration_seconds=2,
            first_token_seconds=0.5,
        ),
        {
            "sluice_telemetry_events_total",
            "sluice_chat_calls_total",
            "sluice_chat_duration_seconds",
            "sluice_chat_tokens_total",
            "sluice_chat_first_token_seconds",
        },
    ),
    (
        TelemetrySubject.EMBEDDING,
        EmbeddingTelemetry(model="minilm", input_count=3, dimensions=256, duration_seconds=0.01),
        {
            "sluice_telemetry_events_total",
            "sluice_embedding_duration_seconds",
            "sluice_embedding_inputs_total",
        },
    ),
    (
        TelemetrySubject.RETRIEVE,
        RetrievalTelemetry(top_k=5, hit_count=1, scores=[1], duration_seconds=0),
        {
            "sluice_telemetry_events_total",
            "sluice_retrievals_total",
            "sluice_retrieval_duration_seconds",
            "sluice_retrieval_hits_total",
            "sluice_retrieval_empty_total",
            "sluice_retrieval_best_score",
        },
    ),
    (
        TelemetrySubject.TOOL_CALL,
        ToolCallTelemetry(function_name="tokei", model="minimax-m2.5"),
        {"sluice_telemetry_events_total", "sluice_tool_calls_total"},
    ),
]


@pytest.mark.parametrize(
    ("subject", "payload", "expected"), PAYLOADS, ids=[str(subject) for subject, *_ in PAYLOADS]
)
def test_every_kind_of_event_becomes_its_metrics(
    subject: TelemetrySubject, payload: Any, expected: set[str]
) -> None:
    """Of events as our own code writes them, fields at their defaults left out."""
    event = new_event(payload, correlation_id="request-1")
    outputs = VectorDouble.of(*FILES).receive(subject, encode_event(event))
    assert "decoded.dropped" not in outputs
    metrics = outputs["limited_metrics"]
    assert {each["name"] for each in metrics} == expected
    for each in metrics:
        listed = METRICS[each["name"]]
        assert set(each["tags"]) == set(listed.label_names)
        for label in listed.labels:
            assert label.values is None or each["tags"][label.name] in label.values
    (line,) = outputs["decoded"]
    assert line["correlation_id"] == "request-1"
    assert line["event_id"] == event.event_id


def test_a_client_cannot_make_more_series_than_the_limit() -> None:
    double = VectorDouble.of(*FILES)
    labels = set()
    for number in range(telemetry.MOST_TAG_VALUES + 20):
        call = ToolCallTelemetry(function_name=f"tool-{number}", model="m")
        body = encode_event(new_event(call, correlation_id="request"))
        outputs = double.receive(TelemetrySubject.TOOL_CALL, body)
        labels |= {each["tags"].get("function_name") for each in outputs["limited_metrics"]}
    assert len(labels - {None}) == telemetry.MOST_TAG_VALUES
    assert None in labels


def test_labels_and_metadata_find_their_fields_in_every_line() -> None:
    loki = CONFIG["sinks"]["loki"]
    wanted = re.findall(r"\{\{ (\w+) \}\}", str({**loki["labels"], **loki["structured_metadata"]}))
    double = VectorDouble.of(*FILES)
    for subject, payload, _ in PAYLOADS:
        body = encode_event(new_event(payload, correlation_id="request-1"))
        (line,) = double.receive(subject, body)["decoded"]
        assert set(wanted) <= set(line)
    (line,) = double.receive(TelemetrySubject.CHAT, b"{}")["unreadable"]
    assert set(wanted) <= set(line)


def test_programs_say_what_is_wrong_with_them() -> None:
    """The compiler behind the tests is the real one: it refuses what Vector would."""
    source = CONFIG["transforms"]["decoded"]["source"].replace("parse_json!", "parse_json")
    with pytest.raises(ValueError, match="E630"):
        run_vrl(source, {"message": msgspec.json.encode({}).decode()})
