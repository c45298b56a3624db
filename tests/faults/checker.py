"""Compares what clients were told with what PostgreSQL holds: nothing lost, twice, or invented."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from tests.faults.history import Ended, History, Told
from tests.faults.telemetry_reader import TelemetryReport

AT_MOST_ONE = range(2)
EXACTLY_ONE = range(1, 2)
NONE = range(1)

CHAT_TABLES = (
    "chat_history",
    "chat_pairs",
    "flow_lineage",
    "retrieve_events",
    "compose_events",
    "tool_calls",
)
TABLES = (*CHAT_TABLES, "embedding_events")


@dataclass
class Rows:
    """What PostgreSQL holds in the end, as far as the checker asks."""

    events: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Table → correlation ID → event IDs."""
    answers: dict[str, str | None] = field(default_factory=dict)
    """Correlation ID → text of the answer in `chat_history`."""
    tools: dict[str, list[str]] = field(default_factory=dict)
    """Correlation ID → functions in `tool_calls`, in the order of the calls."""
    lineage: dict[str, list[str]] = field(default_factory=dict)
    """Correlation ID → events that the call left, as `flow_lineage` says."""
    response_ids: set[str] = field(default_factory=set)
    """In `api_responses`."""
    dead_letters: list[str] = field(default_factory=list)
    """Descriptions of those that are open."""

    def count(self, table: str, correlation_id: str) -> int:
        return len(self.events.get(table, {}).get(correlation_id, ()))


@dataclass(frozen=True)
class Finding:
    """One thing that must not be."""

    what: str
    """`lost`, `twice`, `invented`, `altered`, `dead letter` or `dropped`."""
    correlation_id: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what}: {self.correlation_id}: {self.detail}"


def check(history: History, rows: Rows) -> list[Finding]:
    """Return all that contradicts the promise; nothing if it was kept.

    A call that failed, or of which the client knows nothing, may have left its events or not, but
    none twice.
    """
    findings = [
        *_check_calls(history, rows),
        *_check_lineage(rows),
        *_check_invented(history, rows),
        *(Finding("dead letter", "-", each) for each in rows.dead_letters),
    ]
    for what, values in history.observations.items():
        if what.startswith("dropped ") and max(values) > 0:
            findings.append(Finding("dropped", "-", f"{what}: {max(values):.0f} by the gateway"))
    return findings


def _check_calls(history: History, rows: Rows) -> Iterator[Finding]:
    for correlation_id, invoked in history.invoked.items():
        ended = history.ended.get(correlation_id)
        told = None if ended is None or ended.outcome != "ok" else ended.told or Told()
        for table, allowed in _demands(invoked.kind, told).items():
            count = rows.count(table, correlation_id)
            if count in allowed:
                continue
            what = "lost" if count < allowed.start else "twice"
            detail = f"{count} rows in {table}, outcome {_outcome(ended)}, {invoked.request}"
            yield Finding(what, correlation_id, detail)
        if told is not None:
            yield from _check_content(correlation_id, told, rows)


def _demands(kind: str, told: Told | None) -> Mapping[str, range]:
    """Return table → how many rows a call may have there."""
    if kind == "embeddings":
        embedding = AT_MOST_ONE if told is None else EXACTLY_ONE
        return {**dict.fromkeys(CHAT_TABLES, NONE), "embedding_events": embedding}
    if told is None:
        return {**dict.fromkeys(TABLES, AT_MOST_ONE), "tool_calls": range(100)}
    calls = len(told.tools)
    return {
        "chat_history": EXACTLY_ONE,
        "chat_pairs": EXACTLY_ONE,
        "flow_lineage": EXACTLY_ONE,
        "retrieve_events": EXACTLY_ONE if told.has_searched else NONE,
        "compose_events": EXACTLY_ONE if told.has_sources else NONE,
        "embedding_events": EXACTLY_ONE if told.has_embedded else AT_MOST_ONE,
        "tool_calls": range(calls, calls + 1),
    }


def _outcome(ended: Ended | None) -> str:
    return "unknown" if ended is None else ended.outcome


def _check_content(correlation_id: str, told: Told, rows: Rows) -> Iterator[Finding]:
    answer = rows.answers.get(correlation_id)
    if told.text and correlation_id in rows.answers and answer != told.text:
        yield Finding("altered", correlation_id, f"told {told.text!r}, persisted {answer!r}")
    tools = rows.tools.get(correlation_id, [])
    if len(tools) == len(told.tools) and tools != told.tools:
        yield Finding("altered", correlation_id, f"told {told.tools}, persisted {tools}")
    if told.response_id is not None and told.response_id not in rows.response_ids:
        yield Finding("lost", correlation_id, f"response {told.response_id} is not kept")


def _check_lineage(rows: Rows) -> Iterator[Finding]:
    """A call's events are there all together: its lineage names the others."""
    for correlation_id, expected in rows.lineage.items():
        found = Counter(
            event_id
            for table in TABLES
            if table not in ("flow_lineage", "chat_pairs")
            for event_id in rows.events.get(table, {}).get(correlation_id, ())
        )
        for event_id in expected:
            if found[event_id] != 1:
                detail = f"event {event_id} of its lineage is there {found[event_id]} times"
                yield Finding("lost", correlation_id, detail)
        for event_id in found.keys() - set(expected):
            detail = f"event {event_id} is not in its lineage"
            yield Finding("invented", correlation_id, detail)


def _check_invented(history: History, rows: Rows) -> Iterator[Finding]:
    for table, events in rows.events.items():
        for correlation_id in events.keys() - history.invoked.keys():
            yield Finding("invented", correlation_id, f"in {table}, and nobody asked")


@dataclass(frozen=True)
class Verdict:
    """What came of a run."""

    seed: int
    history: History
    findings: Sequence[Finding]
    telemetry: TelemetryReport
    """Telemetry is not promised; what was missed must be known."""

    @property
    def is_kept(self) -> bool:
        """Whether the promise was kept."""
        return not self.findings

    def summary(self) -> dict[str, object]:
        """Return the figures of the run, for a report."""
        delays = self.history.delays
        return {
            "seed": self.seed,
            "verdict": "kept" if self.is_kept else "BROKEN",
            "calls": len(self.history.invoked),
            "outcomes": dict(self.history.outcomes),
            "faults": dict(sorted(self.history.faults.items())),
            "fault_count": self.history.faults.total(),
            "longest_delay_seconds": round(delays[-1], 1) if delays else None,
            "median_delay_seconds": round(delays[len(delays) // 2], 1) if delays else None,
            "telemetry": asdict(self.telemetry),
            "findings": [str(each) for each in self.findings[:50]],
            "finding_count": len(self.findings),
        }
