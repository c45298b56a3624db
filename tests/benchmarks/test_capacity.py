"""The capacity plan says what the recorded figures say."""

import re

from benchmarks import capacity


def test_the_page_is_not_stale() -> None:
    assert capacity.PAGE.read_text() == capacity.page(), "run `python -m benchmarks.capacity`"


def test_every_figure_of_the_plan_was_measured() -> None:
    for source in capacity.SOURCES:
        file, row = capacity.read(source)
        assert row["value"] > 0, f"{file}: {source.name}"
        assert row["machine"]["core_count"] >= 1


def test_what_is_needed_grows_with_the_calls() -> None:
    rows = [line.split("|")[2:-1] for line in capacity.tables().splitlines() if "cores:" in line]

    assert len(rows) == 3
    for _, _, most in rows:
        cores = float(re.sub(r"[^\d.]", "", most))
        assert cores > 0.1


def test_the_size_of_an_event_is_the_measured_one() -> None:
    assert 500 < capacity.event_bytes() < 10_000
