"""The page of all events, from their payloads, subjects and streams."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from contracts import events, payloads
from contracts.events import PAYLOAD_TYPES, SCHEMA_VERSION, Event
from contracts.streams import PIPELINE_CONSUMERS, stream_configs
from contracts.subjects import Subject
from sluice.reference.markdown import code, field_docs, one_line, table

_INTRODUCTION = f"""# Events

A message's body is JSON: the envelope, with the payload of its subject inside. Durations are in
seconds, moments in UTC. The version is {SCHEMA_VERSION}; events of earlier versions are read too.
The headers are `Nats-Msg-Id` (the `event_id`), `X-Correlation-ID` and, where the client sent one,
`traceparent`.
"""


def events_page() -> str:
    """Return the page."""
    envelope = [row for row in _fields(Event) if row[0] != code("payload")]
    parts = [
        _INTRODUCTION,
        "## Streams\n",
        table(("stream", "subjects", "kept for", ""), _streams()),
        "## The envelope\n",
        table(_FIELD_HEAD, envelope),
    ]
    structs: dict[str, type[msgspec.Struct]] = {}
    for subject, payload in PAYLOAD_TYPES.items():
        parts += [f"## `{subject}`\n", f"{_said(payload)}{_jobs(subject)}\n"]
        parts.append(table(_FIELD_HEAD, _fields(payload)))
        for struct in _structs_in(payload):
            structs.setdefault(struct.__name__, struct)
    for name, struct in structs.items():
        parts += [f"## {name}\n", f"{_said(struct)}\n", table(_FIELD_HEAD, _fields(struct))]
    return "\n".join(parts)


_FIELD_HEAD = ("field", "type", "default", "")


def _streams() -> Iterator[Sequence[str]]:
    for config in stream_configs():
        subjects = ", ".join(map(code, config.subjects or ()))
        hours = (config.max_age or 0) / 3600
        yield code(config.name or ""), subjects, f"{hours:.0f} h", config.description or ""


def _jobs(subject: Subject) -> str:
    jobs = [code(each.job_name) for each in PIPELINE_CONSUMERS if each.subject == subject]
    return f" Persisted by {' and '.join(jobs)}." if jobs else ""


def _said(struct: type[msgspec.Struct]) -> str:
    return one_line(inspect.getdoc(struct))


def _fields(struct: type[msgspec.Struct]) -> Iterator[Sequence[str]]:
    docs = field_docs(payloads) | field_docs(events)
    annotations = {
        name: each for base in reversed(struct.__mro__)
        for name, each in getattr(base, "__annotations__", {}).items()
    }  # fmt: skip
    for field in msgspec.structs.fields(struct):
        said = next(
            (docs[base.__name__, field.name] for base in struct.__mro__
             if (base.__name__, field.name) in docs), "",
        )  # fmt: skip
        yield code(field.name), _type(annotations[field.name]), _default(field), said


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = text.replace("typing.", "").replace("contracts.payloads.", "")
    return code(text.replace("datetime.datetime", "datetime"))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return code(
            "null" if field.default is None else msgspec.json.encode(field.default).decode()
        )
    if field.default_factory is msgspec.NODEFAULT:
        return "required"
    return {"list": "`[]`", "dict": "`{}`"}.get(field.default_factory.__name__, "its defaults")


def _structs_in(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """Yield the structs of the module that the fields' types name."""
    for field in msgspec.structs.fields(struct):
        for name, each in vars(payloads).items():
            is_struct = isinstance(each, type) and issubclass(each, msgspec.Struct)
            if is_struct and each is not msgspec.Struct and name in str(field.type):
                yield each
                yield from _structs_in(each)
