"""The event envelope: what is written is read back, what is wrong is told apart."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from contracts.event_ids import moment_of, new_event_id
from contracts.events import (
    PAYLOAD_TYPES,
    UndecodableEvent,
    UnknownSchemaVersion,
    decode_event,
    encode_event,
)
from contracts.subjects import PipelineSubject, TelemetrySubject
from tests.support.events import chat_event, tool_call_event


def test_an_event_survives_the_wire() -> None:
    event = chat_event(1)

    assert decode_event(PipelineSubject.CHAT_PERSIST, encode_event(event)) == event


def test_every_subject_has_a_payload() -> None:
    assert set(PAYLOAD_TYPES) == {*PipelineSubject, *TelemetrySubject}


def test_subjects_are_the_documented_ones() -> None:
    assert [*PipelineSubject] == [
        "pipeline.knowledge.chat.persist",
        "pipeline.knowledge.embedding",
        "pipeline.knowledge.retrieve",
        "pipeline.knowledge.compose",
        "pipeline.knowledge.flow.lineage",
        "pipeline.knowledge.tool_call",
    ]


def test_the_event_id_tells_when_the_event_occurred() -> None:
    event = tool_call_event(1)

    assert moment_of(event.event_id) == event.occurred_at
    assert abs(event.occurred_at - datetime.now(UTC)) < timedelta(seconds=5)


def test_event_ids_are_distinct_and_ordered_by_time() -> None:
    made = [new_event_id() for _ in range(1000)]

    assert len({event_id for event_id, _ in made}) == 1000
    assert [moment for _, moment in made] == sorted(moment for _, moment in made)


@pytest.mark.parametrize("text", ["", "no-uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"])
def test_what_is_no_uuid7_has_no_moment(text: str) -> None:
    assert moment_of(text) is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"payload": {}}, "missing required field"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": "2026-01-01T00:00:00"}, "time zone"),
        ({"event_id": "seven"}, "no UUID"),
        ({"schema_version": "1"}, "schema_version"),
        ({"schema_version": 0}, "schema_version 0 has no way to"),
        ({"schema_version": 1, "payload": None}, "payload"),
    ],
)
def test_a_wrong_event_is_undecodable(change: dict[str, object], complaint: str) -> None:
    content = json.loads(encode_event(tool_call_event(1))) | change

    with pytest.raises(UndecodableEvent, match=complaint) as raised:
        decode_event(PipelineSubject.TOOL_CALL, json.dumps(content).encode())
    assert not isinstance(raised.value, UnknownSchemaVersion)


@pytest.mark.parametrize("extra", [{}, {"payload": {"of": "another shape"}}])
def test_a_future_version_is_named_whatever_its_shape(extra: dict[str, object]) -> None:
    content = json.loads(encode_event(tool_call_event(1))) | {"schema_version": 99} | extra

    with pytest.raises(UnknownSchemaVersion, match="schema_version 99"):
        decode_event(PipelineSubject.TOOL_CALL, json.dumps(content).encode())


def test_a_body_nested_too_deeply_is_undecodable() -> None:
    depth = 100_000
    content = json.loads(encode_event(chat_event(1)))
    content["payload"]["parameters"] = {"x": "DEEP"}
    body = json.dumps(content).replace('"DEEP"', "[" * depth + "]" * depth).encode()

    with pytest.raises(UndecodableEvent, match="nested"):
        decode_event(PipelineSubject.CHAT_PERSIST, body)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b'"text"', b"null"])
def test_a_body_that_is_no_event_is_undecodable(body: bytes) -> None:
    with pytest.raises(UndecodableEvent):
        decode_event(PipelineSubject.TOOL_CALL, body)
