"""The committed dashboards, and what their panels ask for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.checkout import PROJECT_ROOT

GRAFANA = PROJECT_ROOT / "platform" / "devstack" / "grafana"


@dataclass(frozen=True)
class Question:
    """One query of one panel."""

    dashboard: str
    panel: str
    source: str
    """The type of its data source: `prometheus`, `loki` or `postgres`."""
    source_uid: str
    text: str
    is_instant: bool


def dashboards(folder: Path = GRAFANA / "dashboards") -> dict[str, dict[str, Any]]:
    """Return the file's name without ending → its content."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in dashboard["panels"] if each["type"] != "row"]


def questions() -> Iterator[Question]:
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Question(
                    dashboard=name,
                    panel=panel["title"],
                    source=panel["datasource"]["type"],
                    source_uid=panel["datasource"]["uid"],
                    text=target.get("rawSql") or target["expr"],
                    is_instant=target.get("instant", False),
                )
