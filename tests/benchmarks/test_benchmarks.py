"""Runs each benchmark with tiny sizes; a timing is never asserted."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.load_tools import has_load_tools

_ROOT = Path(__file__).parents[2]
_ROW_KEYS = ["name", "value", "unit", "against", "ratio", "setup", "machine"]
_MACHINE_KEYS = {"cpu_model", "core_count", "memory_gib", "kernel", "python_version"}


def run_quickly(name: str, folder: Path, *options: str) -> dict[str, dict[str, Any]]:
    """Run one benchmark as `make bench` does; return its rows by the start of their names."""
    file = folder / "results.json"
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, "--quick", "--results", str(file), *options],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    rows: list[dict[str, Any]] = msgspec.json.decode(file.read_bytes())
    for row in rows:
        assert list(row) == _ROW_KEYS
        assert set(row["against"]) == {"name", "value"}
        assert set(row["machine"]) == _MACHINE_KEYS
        if row["against"]["value"]:
            assert row["ratio"] == pytest.approx(
                row["value"] / row["against"]["value"], rel=1e-3, abs=1e-3
            )
    return {row["name"]: row for row in rows}


@pytest.mark.skipif(not has_load_tools(), reason="nginx or wrk is not installed")
def test_gateway_benchmark_accounts_for_every_event(tmp_path: Path) -> None:
    rows = run_quickly("gateway", tmp_path, "--peer", "ferro")

    for gateway in ("floor", "Sluice", "Ferro"):
        assert rows[f"{gateway}: chat completions, 32 in flight"]["value"] > 0
        assert rows[f"{gateway}: failed requests"]["value"] == 0
        assert rows[f"{gateway}: resident memory after the load"]["value"] > 0
        assert f"{gateway}: added time to first token, p50" in rows
    assert "broker syncs always" in rows["Sluice: chat completions, 32 in flight"]["setup"]
    stored = rows["Sluice: messages in the streams"]
    assert stored["value"] == stored["against"]["value"] > 0
    shipped = rows["Sluice: events that the broker acknowledged"]
    dropped = sum(
        rows[f"Sluice: {kind} events dropped"]["value"] for kind in ("pipeline", "telemetry")
    )
    assert shipped["value"] + dropped >= shipped["against"]["value"]
    assert "| chat completions, 32 in flight" in (tmp_path / "gateway.md").read_text()
    assert (tmp_path / "gateway.svg").read_text().startswith("<?xml")


@pytest.mark.skipif(not has_load_tools(), reason="nginx or wrk is not installed")
def test_growth_is_watched_beside_the_floor(tmp_path: Path) -> None:
    rows = run_quickly("growth", tmp_path)

    for gateway in ("floor", "Sluice"):
        assert rows[f"{gateway}: answered requests"]["value"] > 0
        assert rows[f"{gateway}: resident memory at the end"]["value"] > 0
        assert f"{gateway}: growth in the second half" in rows


def test_spool_benchmark_compares_with_memory_alone(tmp_path: Path) -> None:
    rows = run_quickly("spool", tmp_path)

    for fsync in ("never", "interval", "always"):
        row = rows[f"spool: publishing a call's events, fsync {fsync}, p50"]
        assert row["value"] > 0
        assert row["against"]["value"] > 0


def test_drain_benchmark_persists_every_event_once(tmp_path: Path) -> None:
    rows = run_quickly("drain", tmp_path)

    kept = rows["drain: rows after the run"]
    assert kept["value"] == 300
    assert kept["ratio"] == 1.0
    assert rows["drain: one run's batch of 300 (read, COPY, commit, acknowledge)"]["value"] > 0


def test_retrieval_benchmark_finds_what_is_nearest(tmp_path: Path) -> None:
    rows = run_quickly("retrieval", tmp_path)

    assert rows["retrieval: ingest, chunks"]["value"] > 0
    assert rows["retrieval: a query from end to end, p50"]["value"] > 0
    assert rows["retrieval: stage rerank, p50"]["value"] > 0
    assert rows["retrieval: recall@10 of the vector search, no filter"]["value"] > 0.9
    assert rows["retrieval: top 10 of INT8 that are in the top 10 of fp32"]["value"] > 0.85


def test_lake_benchmark_moves_every_event(tmp_path: Path) -> None:
    rows = run_quickly("lake", tmp_path)

    moved = rows["lake: events moved"]
    assert moved["value"] >= moved["against"]["value"] == 800
    assert rows["lake: chat_history"]["against"]["value"] > 0
    assert rows["lake: growth, 8 snapshots"]["value"] > 0
    assert (tmp_path / "lake_growth.svg").read_text().startswith("<?xml")


def test_lake_year_keeps_the_table_small(tmp_path: Path) -> None:
    rows = run_quickly("lake_year", tmp_path)

    files = rows["lake year: data files, day 14"]
    # A week of merged days, and one of two batches a day.
    assert (files["value"], files["against"]["value"]) == (21, 28)
    assert rows["lake year: snapshots, day 14"]["against"]["value"] == 28
    assert (tmp_path / "lake_year.svg").read_text().startswith("<?xml")
