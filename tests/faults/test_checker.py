"""The checker sees every planted loss, duplicate and invention, and nothing else."""

from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.faults.checker import Finding, Rows, Verdict, check
from tests.faults.history import Ended, Fault, History, Invoked, Observation, Persisted, Told
from tests.faults.telemetry_reader import TelemetryReport

CHAT = Told(
    text="an answer",
    tools=["measure_level", "open_gate"],
    has_searched=True,
    has_sources=True,
    has_embedded=True,
    response_id="resp_1",
)


def invoked(key: str, kind: str = "chat") -> Invoked:
    return Invoked(at=1.0, correlation_id=key, kind=kind, request="chat")  # type: ignore[arg-type]


def ended(key: str, outcome: str = "ok", told: Told | None = None) -> Ended:
    return Ended(at=2.0, correlation_id=key, outcome=outcome, told=told)  # type: ignore[arg-type]


def good_history() -> History:
    """One whole chat call, one plain one, an embedding, and calls that came to no answer."""
    return History.of(
        [
            *(invoked(key) for key in ("whole", "plain", "failed", "cut", "never-ended")),
            invoked("vectors", "embeddings"),
            ended("whole", told=CHAT),
            ended("plain", told=Told(text="short")),
            ended("vectors", told=Told()),
            ended("failed", "fail"),
            ended("cut", "unknown"),
        ]
    )


def good_rows() -> Rows:
    """What the calls of `good_history` must leave; of `cut` everything came, of others nothing."""
    return Rows(
        events={
            "chat_history": {"whole": ["w1"], "plain": ["p1"], "cut": ["c1"]},
            "chat_pairs": {"whole": ["w1"], "plain": ["p1"], "cut": ["c1"]},
            "flow_lineage": {"whole": ["w2"], "plain": ["p2"], "cut": ["c2"]},
            "retrieve_events": {"whole": ["w3"]},
            "compose_events": {"whole": ["w4"]},
            "embedding_events": {"whole": ["w5"], "vectors": ["v1"]},
            "tool_calls": {"whole": ["w6", "w7"]},
        },
        answers={"whole": "an answer", "plain": "short", "cut": "whatever"},
        tools={"whole": ["measure_level", "open_gate"]},
        lineage={"whole": ["w1", "w3", "w4", "w5", "w6", "w7"], "plain": ["p1"], "cut": ["c1"]},
        response_ids={"resp_1"},
    )


def test_a_kept_promise_has_no_findings() -> None:
    assert check(good_history(), good_rows()) == []


def _lose(table: str, key: str) -> Callable[[Rows], None]:
    def spoil(rows: Rows) -> None:
        del rows.events[table][key]

    return spoil


def _double(table: str, key: str) -> Callable[[Rows], None]:
    def spoil(rows: Rows) -> None:
        rows.events[table][key].append("again")

    return spoil


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("chat_history", "whole"),
        ("chat_history", "plain"),
        ("chat_pairs", "plain"),
        ("flow_lineage", "whole"),
        ("retrieve_events", "whole"),
        ("compose_events", "whole"),
        ("embedding_events", "whole"),
        ("embedding_events", "vectors"),
        ("tool_calls", "whole"),
    ],
)
def test_a_lost_row_and_a_second_one_are_seen_in_every_table(table: str, key: str) -> None:
    lost, doubled = good_rows(), good_rows()
    _lose(table, key)(lost)
    _double(table, key)(doubled)

    assert ("lost", key) in _kinds(check(good_history(), lost))
    assert ("twice", key) in _kinds(check(good_history(), doubled))


@pytest.mark.parametrize("table", ["chat_history", "chat_pairs", "flow_lineage"])
def test_a_call_of_unknown_outcome_may_not_be_there_twice(table: str) -> None:
    rows = good_rows()
    _double(table, "cut")(rows)

    assert ("twice", "cut") in _kinds(check(good_history(), rows))


def test_one_tool_call_of_two_that_is_lost_is_seen() -> None:
    rows = good_rows()
    rows.events["tool_calls"]["whole"].pop()

    assert ("lost", "whole") in _kinds(check(good_history(), rows))


def test_rows_nobody_asked_for_are_seen() -> None:
    rows = good_rows()
    rows.events["retrieve_events"]["stranger"] = ["s1"]
    searched_although_told_not_to = good_rows()
    searched_although_told_not_to.events["retrieve_events"]["plain"] = ["p3"]

    assert ("invented", "stranger") in _kinds(check(good_history(), rows))
    assert ("twice", "plain") in _kinds(check(good_history(), searched_although_told_not_to))


def test_half_a_call_is_seen_even_where_the_client_knows_nothing() -> None:
    rows = good_rows()
    rows.lineage["cut"].append("c3")
    unexplained = good_rows()
    unexplained.events["tool_calls"]["cut"] = ["c9"]

    assert _kinds(check(good_history(), rows)) == {("lost", "cut")}
    assert _kinds(check(good_history(), unexplained)) == {("invented", "cut")}


def test_other_content_than_the_client_was_told_is_seen() -> None:
    altered, reordered = good_rows(), good_rows()
    altered.answers["plain"] = "another"
    reordered.tools["whole"].reverse()

    assert _kinds(check(good_history(), altered)) == {("altered", "plain")}
    assert _kinds(check(good_history(), reordered)) == {("altered", "whole")}


def test_a_promised_response_that_is_gone_is_seen() -> None:
    rows = good_rows()
    rows.response_ids.clear()

    assert _kinds(check(good_history(), rows)) == {("lost", "whole")}


def test_dead_letters_and_drops_are_seen() -> None:
    rows = good_rows()
    rows.dead_letters.append("knowledge_chat_persist 12")
    history = good_history()
    history.observations = {"dropped pipeline": [0.0, 2.0], "telemetry dropped x": [5.0]}

    assert _kinds(check(history, rows)) == {("dead letter", "-"), ("dropped", "-")}


def test_an_answered_call_that_was_expected_to_be_unknown_is_not_excused() -> None:
    """The same rows, judged by another history: without its row, an answer is a loss."""
    rows = good_rows()
    history = deepcopy(good_history())
    del history.ended["failed"]
    history.ended["failed"] = ended("failed", told=Told(text="x"))

    found = check(history, rows)
    assert {each.correlation_id for each in found} == {"failed"}
    assert {each.what for each in found} == {"lost"}


def test_a_history_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="invoked twice"):
        History.of([invoked("a"), invoked("a")])
    with pytest.raises(ValueError, match="never invoked"):
        History.of([ended("a")])


def test_the_summary_counts_calls_faults_and_delays() -> None:
    history = History.of(
        [
            invoked("a"),
            Fault(at=1.5, fault="kill", target="nats", phase="start"),
            ended("a", told=Told()),
            Fault(at=2.5, fault="kill", target="nats", phase="stop"),
            invoked("b"),
            Observation(at=3.0, what="x", value=1.0),
            Persisted(at=9.5, correlation_id="a"),
        ]
    )
    found = [Finding("lost", "a", "why")]
    summary = Verdict(7, history, found, TelemetryReport(missed=4)).summary()

    assert summary["verdict"] == "BROKEN"
    assert summary["outcomes"] == {"ok": 1, "unknown": 1}
    assert summary["faults"] == {"kill nats": 1}
    assert summary["longest_delay_seconds"] == 7.5
    assert summary["telemetry"]["missed"] == 4  # type: ignore[index]
    assert summary["findings"] == ["lost: a: why"]


def _kinds(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(each.what, each.correlation_id) for each in findings}
