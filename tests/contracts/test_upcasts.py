"""Events of every schema version there ever was, as their release wrote them, are read."""

import json
from pathlib import Path

import pytest

from contracts.events import SCHEMA_VERSION, decode_event
from contracts.subjects import PipelineSubject

RECORDED = Path(__file__).parent / "recorded_events"


def recorded(version: int, subject: PipelineSubject) -> bytes:
    return (RECORDED / f"version_{version}" / f"{subject}.json").read_bytes()


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
@pytest.mark.parametrize("subject", PipelineSubject)
def test_the_same_event_of_any_version_is_the_same_event(
    subject: PipelineSubject, version: int
) -> None:
    body = recorded(version, subject)
    assert json.loads(body)["schema_version"] == version
    assert decode_event(subject, body) == decode_event(subject, recorded(SCHEMA_VERSION, subject))


def test_the_callers_name_of_a_version_1_chat_is_kept() -> None:
    body = recorded(1, PipelineSubject.CHAT_PERSIST)
    assert json.loads(body)["payload"]["api_key_name"] == "platform-team"
    event = decode_event(PipelineSubject.CHAT_PERSIST, body)
    assert (event.schema_version, event.api_key_name) == (SCHEMA_VERSION, "platform-team")


def test_a_version_1_event_that_has_the_name_in_its_envelope_keeps_that_one() -> None:
    document = json.loads(recorded(1, PipelineSubject.CHAT_PERSIST)) | {"api_key_name": "other"}
    event = decode_event(PipelineSubject.CHAT_PERSIST, json.dumps(document).encode())
    assert event.api_key_name == "other"
