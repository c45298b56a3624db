"""Writes the dashboards: `python -m dashboard_source [FOLDER]`."""

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboard_source.dashboards import all_dashboards


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, dashboard in all_dashboards().items():
        text = JSONEncoder(sort_keys=True, indent=2).encode(dashboard.build())
        (folder / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "dashboards")
