"""`sluice reembed`: launches the backfill to another model, then the switch, and follows both."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sluice.dagster_api import FINISHED, LOCATION, REPOSITORY, RunFailed, ask, follow, launch

_POLL_SECONDS = 1.0
_REEMBED_JOB = "reembed_documents"
_PROMOTE_JOB = "promote_embeddings"

_PARTITIONS = """
query Partitions($repository: RepositorySelector!, $set: String!) {
  partitionSetOrError(repositorySelector: $repository, partitionSetName: $set) {
    __typename
    ... on PartitionSet {
      partitionsOrError { ... on Partitions { results { name } } ... on PythonError { message } }
    }
    ... on PythonError { message }
  }
}
"""
_BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_FOLLOW_BACKFILL = """
query Follow($backfill: String!) {
  partitionBackfillOrError(backfillId: $backfill) {
    __typename
    ... on PartitionBackfill {
      status
      error { message }
      partitionStatusCounts { runStatus count }
    }
    ... on PythonError { message }
  }
}
"""


@dataclass(frozen=True)
class Progress:
    """How far the backfill is, in partitions."""

    done: int
    total: int


@dataclass(frozen=True)
class Promoted:
    """The switch is done."""

    model: str
    chunk_count: int


def reembed(
    dagster_url: str, *, model_dir: Path | None = None, precision: str | None = None
) -> Iterator[Progress | Promoted]:
    """Launch the backfill; yield its progress; then switch.

    Args:
        model_dir: the new model; default: the encoder of the platform's settings.
        precision: of the new model.

    Raises:
        RunFailed: Dagster does not answer, a run failed, or the switch was refused. What was
            embedded is kept.
    """
    config = {
        "model_dir": str(model_dir.resolve()) if model_dir else None,
        "precision": precision,
    }
    given = {name: value for name, value in config.items() if value is not None}
    backfill_id = _launch_backfill(dagster_url, given)
    yield from _follow_backfill(dagster_url, backfill_id)
    yield _promote(dagster_url)


def _launch_backfill(dagster_url: str, config: dict[str, str]) -> str:
    repository = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY}
    partition_set = f"{_REEMBED_JOB}_partition_set"
    answer = ask(dagster_url, _PARTITIONS, {"repository": repository, "set": partition_set})
    partitions = answer["partitionSetOrError"].get("partitionsOrError", {}).get("results")
    if partitions is None:
        raise RunFailed(f"Dagster does not know `{_REEMBED_JOB}`: {answer}")
    params = {
        "selector": {"partitionSetName": partition_set, "repositorySelector": repository},
        "partitionNames": [each["name"] for each in partitions],
        "runConfigData": {"ops": {"chunk_reembeddings": {"config": config}}},
        "title": "sluice reembed",
    }
    outcome = ask(dagster_url, _BACKFILL, {"params": params})["launchPartitionBackfill"]
    if outcome["__typename"] != "LaunchBackfillSuccess":
        raise RunFailed(f"Dagster refused the backfill of `{_REEMBED_JOB}`: {outcome}")
    backfill_id: str = outcome["backfillId"]
    return backfill_id


def _follow_backfill(dagster_url: str, backfill_id: str) -> Iterator[Progress]:
    while True:
        answer = ask(dagster_url, _FOLLOW_BACKFILL, {"backfill": backfill_id})
        backfill = answer["partitionBackfillOrError"]
        if backfill["__typename"] != "PartitionBackfill" or backfill["error"]:
            raise RunFailed(f"backfill {backfill_id} failed: {backfill}")
        counts = {each["runStatus"]: each["count"] for each in backfill["partitionStatusCounts"]}
        total = sum(counts.values())
        done = sum(counts.get(status, 0) for status in FINISHED)
        yield Progress(counts.get("SUCCESS", 0), total)
        if done == total or backfill["status"] in ("CANCELED", "FAILED"):
            break
        time.sleep(_POLL_SECONDS)
    if counts.get("SUCCESS", 0) < total:
        raise RunFailed(
            f"{total - counts.get('SUCCESS', 0)} of {total} partitions were not embedded: see"
            f" {dagster_url}/runs/b/{backfill_id}; repeat the command to go on"
        )


def _promote(dagster_url: str) -> Promoted:
    (entries,) = follow(dagster_url, launch(dagster_url, _PROMOTE_JOB, {}))
    return Promoted(
        model=str(entries["embedding_model"]),
        chunk_count=int(entries["dagster/row_count"]),
    )
