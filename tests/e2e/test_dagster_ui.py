"""The real Dagster UI in a real browser shows what the main job left."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from sensors.declarations import pull_sensors
from tests.e2e.main_job import MainJob
from tests.support.browser import browser_page
from tests.support.checkout import PROJECT_ROOT
from tests.support.graphql import ask_dagster, count_running_automations

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

PICTURE_VARIABLE = "SLUICE_UPDATE_PICTURES"
"""When set, the picture of the lineage graph in `docs/images` is taken anew."""

RECORD_LABELS = ("rows_written", "duplicates_skipped", "dead_letters", "sequence_ranges", "preview")
GROUPS = ("conversations", "documents", "gateway", "retrieval", "training")
MATERIALIZED_ASSETS = (
    "chat_history",
    "chat_pair_dataset",
    "chat_pair_record",
    "compose_record",
    "document_chunks",
    "embedding_record",
    "retrieve_record",
    "tool_call_record",
)
_WIDTH, _HEIGHT = 1400, 900
_GRAPH_WIDTH, _GRAPH_HEIGHT = 1900, 2300
_PATIENCE_MS = 90_000
_COMPACT_GRAPH = """
localStorage.setItem("asset-node-facets", '["checks","status","kind-tag"]');
localStorage.setItem("dagster-nav-collapsed", "true");
localStorage.setItem("large-screen-nav-open", "false");
"""
"""What a person sets by hand in the UI: no side bar, and of each asset the essential."""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser_page(width=_WIDTH, height=_HEIGHT) as page:
        page.set_default_timeout(_PATIENCE_MS)
        expect.set_options(timeout=_PATIENCE_MS)
        yield page


def _last_materialization(main_job: MainJob, asset: str) -> str:
    """Return the page of an asset's last materialization; its last event may be an observation."""
    url = main_job.platform.endpoints["dagster"]
    node = ask_dagster(
        url,
        """
        query Last($key: AssetKeyInput!) { assetOrError(assetKey: $key) {
            ... on Asset { assetMaterializations(limit: 1) { timestamp } }
        } }
        """,
        key={"path": [asset]},
    )["assetOrError"]
    return f"{url}/assets/{asset}?view=events&asOf={node['assetMaterializations'][0]['timestamp']}"


@pytest.mark.parametrize(
    ("asset", "labels"),
    [
        ("chat_history", RECORD_LABELS),
        ("chat_pair_record", RECORD_LABELS),
        ("flow_lineage_record", RECORD_LABELS),
        ("tool_call_record", RECORD_LABELS),
        ("chat_pair_dataset", ("minutes_written", "pairs_written", "path")),
    ],
)
def test_asset_page_shows_the_materialization(
    page: Page, main_job: MainJob, tmp_path: Path, asset: str, labels: tuple[str, ...]
) -> None:
    page.goto(_last_materialization(main_job, asset))
    expect(page.get_by_text(re.compile("materialized in run", re.IGNORECASE))).to_be_visible()
    for label in labels:
        expect(page.get_by_text(label, exact=True).first).to_be_visible()
    page.screenshot(path=tmp_path / f"{asset}.png")


def test_preview_shows_calls_of_the_main_job(page: Page, main_job: MainJob) -> None:
    page.goto(_last_materialization(main_job, "chat_history"))
    preview = page.locator("table").filter(has_text="correlation_id").last
    expect(preview).to_contain_text("completed")
    expect(preview).to_contain_text("total_tokens")


def test_six_sensors_are_shown_running(page: Page, main_job: MainJob, tmp_path: Path) -> None:
    # High enough for all rows: those out of sight are not made.
    page.set_viewport_size({"width": _WIDTH, "height": 2 * _HEIGHT})
    page.goto(f"{main_job.platform.endpoints['dagster']}/automation")
    for sensor in pull_sensors:
        expect(page.get_by_text(sensor.name, exact=True)).to_be_visible()
    running = count_running_automations(main_job.platform.endpoints["dagster"])
    assert running >= len(pull_sensors)
    # Each row has a box to select it and a switch that is on.
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(running)
    page.screenshot(path=tmp_path / "sensors.png")


def test_lineage_graph_shows_the_platform(page: Page, main_job: MainJob, tmp_path: Path) -> None:
    page.add_init_script(_COMPACT_GRAPH)
    page.set_viewport_size({"width": _GRAPH_WIDTH, "height": _GRAPH_HEIGHT})
    selection = " or ".join(f'group:"{group}"' for group in GROUPS)
    page.goto(f"{main_job.platform.endpoints['dagster']}/asset-groups~{quote(selection)}/")
    jump_to = page.get_by_placeholder("Jump to")
    jump_to.wait_for()
    expect(page.get_by_text("Join the Dagster community")).to_have_count(0)
    for group in GROUPS:
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    # The button that closes the list beside the graph has no name; it stands next to the box.
    box = jump_to.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] + 22, box["y"] + box["height"] / 2)
    jump_to.wait_for(state="hidden")
    page.keyboard.press("Alt+E")  # expand all groups
    expect(page.get_by_text("pipeline_knowledge_retrieve", exact=True).first).to_be_visible()
    page.mouse.dblclick(_GRAPH_WIDTH // 20, _GRAPH_HEIGHT // 2)  # the background: show it whole
    for asset in MATERIALIZED_ASSETS:
        expect(page.get_by_text(asset, exact=True).first).to_be_in_viewport()
    page.mouse.move(5, _GRAPH_HEIGHT - 5)
    page.wait_for_timeout(2000)  # the graph glides into its frame
    picture = page.screenshot(path=tmp_path / "lineage.png")
    assert len(picture) < 600_000
    if os.environ.get(PICTURE_VARIABLE):
        target = PROJECT_ROOT / "docs" / "images" / "lineage.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture)
