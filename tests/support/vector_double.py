"""A stand-in for Vector, whose binary no package registry has.

It runs the transforms of our `vector.yaml` on events: its VRL programs by the real VRL (the wheel
`vrl-python`), and the few transforms around them as their documentation says
(https://vector.dev/docs/reference/configuration/transforms/). Buffers, batches, acknowledgements
and the sinks' protocols are not Vector's here.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from vrl_python import VRLRuntime

from tests.support.checkout import PROJECT_ROOT

VECTOR_FOLDER = PROJECT_ROOT / "platform" / "devstack" / "vector"
_TEMPLATE = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
Event = dict[str, Any]


class VrlError(Exception):
    """The program failed or aborted."""


def run_vrl(program: str, event: Mapping[str, Any]) -> tuple[Event, Any]:
    """Return the event after `program`, and what its last expression is. Raises VrlError."""
    try:
        result = VRLRuntime.run(program, dict(event), "UTC")
    except RuntimeError as error:
        raise VrlError(str(error)) from error
    return result.processed_event, result.runtime_result


def load(*names: str) -> dict[str, Any]:
    """Return the configuration of the files, as one."""
    merged: dict[str, Any] = {}
    for name in names:
        for section, content in yaml.safe_load((VECTOR_FOLDER / name).read_text()).items():
            if isinstance(content, dict):
                merged.setdefault(section, {}).update(content)
            else:
                merged[section] = content
    return merged


@dataclass
class VectorDouble:
    """The transforms of a configuration, fed one event at a time."""

    config: dict[str, Any]
    _tag_values: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, *names: str) -> "VectorDouble":
        return cls(load(*names))

    def feed(self, component: str, event: Event) -> dict[str, list[Event]]:
        """Insert `event` into a transform; return output → events of it and all below it."""
        outputs: dict[str, list[Event]] = defaultdict(list)
        waiting = [(component, event)]
        while waiting:
            name, current = waiting.pop(0)
            for output, made in self._transform(name, current):
                outputs[output].append(made)
                waiting += [
                    (other, made)
                    for other, each in self.config["transforms"].items()
                    if output in each["inputs"]
                ]
        return outputs

    def receive(self, subject: str, body: bytes) -> dict[str, list[Event]]:
        """Feed a message as the `nats` source would."""
        event = {"subject": subject, "message": body.decode(), "source_type": "nats"}
        (first,) = [
            name
            for name, each in self.config["transforms"].items()
            if "telemetry" in each["inputs"]
        ]
        return self.feed(first, event)

    def _transform(self, name: str, event: Event) -> Iterator[tuple[str, Event]]:
        settings = self.config["transforms"][name]
        match settings["type"]:
            case "remap":
                try:
                    yield name, run_vrl(settings["source"], event)[0]
                except VrlError:
                    if settings.get("reroute_dropped"):
                        yield f"{name}.dropped", event
            case "route":
                for route, condition in settings["route"].items():
                    if run_vrl(condition, event)[1] is True:
                        yield f"{name}.{route}", event
            case "log_to_metric":
                metrics = [_metric(each, event) for each in settings["metrics"]]
                if None not in metrics:  # all or none
                    yield from ((name, each) for each in metrics if each is not None)
            case "tag_cardinality_limit":
                yield name, self._limit(settings["value_limit"], event)
            case other:
                raise NotImplementedError(other)

    def _limit(self, most: int, metric: Event) -> Event:
        kept = {}
        for tag, value in metric["tags"].items():
            # The scope is global: one set of values for a tag of all metrics.
            seen = self._tag_values[tag]
            if value in seen or len(seen) < most:
                seen.add(value)
                kept[tag] = value
        return {**metric, "tags": kept}


def look_up(path: str, event: Any) -> Any:
    """Return the value at `path`, None where there is none."""
    for part in path.split("."):
        if not isinstance(event, Mapping) or part not in event:
            return None
        event = event[part]
    return event


def render(template: str, event: Event) -> str | None:
    """Return `template` filled in; None where a field of it is missing."""
    values = [look_up(path, event) for path in _TEMPLATE.findall(template)]
    if None in values:
        return None
    texts = iter(str(each).lower() if isinstance(each, bool) else str(each) for each in values)
    return _TEMPLATE.sub(lambda _match: next(texts), template)


def _metric(settings: dict[str, Any], event: Event) -> Event | None:
    value = look_up(settings["field"], event)
    if value is None:
        return None
    is_counted = settings["type"] == "counter" and not settings.get("increment_by_value", False)
    tags = {name: render(template, event) for name, template in settings["tags"].items()}
    return {
        "name": settings["name"],
        "type": settings["type"],
        "kind": "incremental",
        "value": 1.0 if is_counted else float(value),
        "tags": {name: text for name, text in tags.items() if text is not None},
    }


def unit_tests(*names: str) -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = load(*names)["tests"]
    return tests


def run_unit_test(double: VectorDouble, test: dict[str, Any]) -> None:
    """Run one of Vector's unit tests: each check must hold for an event of its output."""
    outputs: dict[str, list[Event]] = defaultdict(list)
    for each in test["inputs"]:
        assert each["type"] == "log"
        for output, events in double.feed(each["insert_at"], dict(each["log_fields"])).items():
            outputs[output] += events
    for check in test.get("outputs", ()):
        failures = []
        for event in outputs[check["extract_from"]]:
            failure = _first_failure(check["conditions"], event)
            if failure is None:
                break
            failures.append(failure)
        else:
            raise AssertionError(f"{check['extract_from']}: {failures or 'no output'}")
    for output in test.get("no_outputs_from", ()):
        assert not outputs[output], output


def _first_failure(conditions: list[dict[str, Any]], event: Event) -> str | None:
    for condition in conditions:
        try:
            _, value = run_vrl(condition["source"], event)
        except VrlError as error:
            return str(error)
        if value is not True:
            return f"{condition['source']} is {value!r}"
    return None
