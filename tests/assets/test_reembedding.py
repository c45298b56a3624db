"""The backfill to another model and the switch, as runs."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from dagster import ExecuteInProcessResult, RunRequest

from assets.reembedding import chunk_partitions
from knowledge.reembedding import PARTITIONS
from tests.support.dagster_runs import Orchestrator
from tests.support.hashing_encoder_resource import HashingEncoderResource

CHUNKS = 40


@pytest.fixture
def orchestrator(database_url: str, tmp_path: Path) -> Orchestrator:
    """With a folder of documents ingested."""
    orchestrator = Orchestrator(
        database_url=database_url,
        nats_url="nats://127.0.0.1:1",
        encoder=HashingEncoderResource(dimensions=384),
    )
    file = tmp_path / "locks.md"
    file.write_text("".join(f"## Lock {number}\n\nWater.\n\n" for number in range(CHUNKS)))
    config = {"ops": {"document_chunks": {"config": {"paths": [str(file)]}}}}
    orchestrator.run(RunRequest(job_name="ingest_documents", run_config=config))
    return orchestrator


def _reembed(orchestrator: Orchestrator, partition: str) -> dict[str, Any]:
    result = orchestrator.run(
        RunRequest(
            job_name="reembed_documents",
            partition_key=partition,
            run_config={"ops": {"chunk_reembeddings": {"config": {"model_dir": "new"}}}},
        )
    )
    (materialization,) = result.asset_materializations_for_node("chunk_reembeddings")
    assert materialization.partition == partition
    return {name: entry.value for name, entry in materialization.metadata.items()}


def _promote(orchestrator: Orchestrator) -> ExecuteInProcessResult:
    return orchestrator.run(RunRequest(job_name="promote_embeddings"), raise_on_error=False)


def _first_partition(database_url: str) -> str:
    """The first that has chunks: their IDs depend on the file's path, so any may have none."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT left(chunk_id::text, 1) FROM document_chunks ORDER BY chunk_id LIMIT 1"
        ).fetchone()
    assert row is not None
    return str(row[0])


def _models(database_url: str) -> list[Any]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT DISTINCT embedding_model, vector_dims(embedding) FROM document_chunks"
        ).fetchall()


def test_the_assets_partitions_are_those_of_the_domain() -> None:
    assert tuple(chunk_partitions.get_partition_keys()) == PARTITIONS


def test_all_partitions_then_the_switch(orchestrator: Orchestrator, database_url: str) -> None:
    metadata = [_reembed(orchestrator, partition) for partition in PARTITIONS]

    assert sum(each["chunks_embedded"] for each in metadata) == CHUNKS
    assert _reembed(orchestrator, "0")["chunks_embedded"] == 0
    assert _models(database_url) == [("hashing", 256)]

    result = _promote(orchestrator)

    assert result.success
    assert _models(database_url) == [("new", 384)]
    (materialization,) = result.asset_materializations_for_node("promoted_embeddings")
    assert materialization.metadata["dagster/row_count"].value == CHUNKS
    assert materialization.metadata["previous_model"].value == "'hashing' (256 dimensions)"


def test_the_switch_is_refused_while_chunks_are_missing(
    orchestrator: Orchestrator, database_url: str
) -> None:
    nothing_made = _promote(orchestrator).failure_data_for_node("promoted_embeddings")
    done = _reembed(orchestrator, _first_partition(database_url))["chunks_embedded"]
    too_few = _promote(orchestrator).failure_data_for_node("promoted_embeddings")

    assert 0 < done < CHUNKS
    assert nothing_made is not None
    assert "no vectors of another model were made" in str(nothing_made.error)
    assert too_few is not None
    assert f"{CHUNKS - done} of {CHUNKS} chunks have no vector" in str(too_few.error)
    assert _models(database_url) == [("hashing", 256)]
