"""Dagster's GraphQL API, as far as commands need it."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import requests

LOCATION = "sluice"
REPOSITORY = "__repository__"

_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PipelineNotFoundError { message }
  }
}
"""

_FOLLOW = """
query Follow($run: ID!) {
  runOrError(runId: $run) { ... on Run { status } }
  logsForRun(runId: $run) {
    ... on EventConnection {
      events {
        __typename
        ... on MaterializationEvent {
          metadataEntries {
            label
            ... on IntMetadataEntry { intValue }
            ... on TextMetadataEntry { text }
          }
        }
        ... on ExecutionStepFailureEvent { error { message } }
        ... on RunFailureEvent { error { message } }
      }
    }
  }
}
"""

FINISHED = ("SUCCESS", "FAILURE", "CANCELED")
_POLL_SECONDS = 1.0
_FAILURE_PREFIX = "dagster._core.definitions.events.Failure: "


class RunFailed(Exception):
    """Dagster does not answer, refused to launch a job, or the job failed; the message says why."""


def ask(
    dagster_url: str, query: str, variables: Mapping[str, Any], *, timeout_seconds: float = 30
) -> Any:
    """Return the `data` of an answer. Raises RunFailed."""
    try:
        reply = requests.post(
            f"{dagster_url}/graphql",
            json={"query": query, "variables": variables},
            timeout=timeout_seconds,
        )
        answer = reply.json()
    except requests.RequestException as error:
        raise RunFailed(
            f"Dagster does not answer at {dagster_url}: is `sluice dev` running? ({error})"
        ) from error
    if answer.get("errors"):
        raise RunFailed(f"Dagster refused: {answer['errors'][0]['message']}")
    return answer["data"]


def launch(
    dagster_url: str,
    job: str,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
) -> str:
    """Launch a run of `job` and return its ID. Raises RunFailed."""
    params = {
        "selector": {
            "repositoryLocationName": LOCATION,
            "repositoryName": REPOSITORY,
            "jobName": job,
        },
        "runConfigData": run_config,
        "executionMetadata": {
            "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]
        },
    }
    outcome = ask(dagster_url, _LAUNCH, {"params": params})["launchRun"]
    if outcome["__typename"] != "LaunchRunSuccess":
        raise RunFailed(f"Dagster refused to launch `{job}`: {outcome}")
    run_id: str = outcome["run"]["runId"]
    return run_id


def follow(dagster_url: str, run_id: str) -> list[dict[str, int | str]]:
    """Wait until the run has ended; return each materialization's integers and texts by label.

    Raises:
        RunFailed: Dagster does not answer, or the run failed.
    """
    while True:
        answer = ask(dagster_url, _FOLLOW, {"run": run_id})
        status = answer["runOrError"]["status"]
        if status in FINISHED:
            break
        time.sleep(_POLL_SECONDS)
    events: list[dict[str, Any]] = answer["logsForRun"]["events"]
    if status != "SUCCESS":
        raise RunFailed(f"run {run_id} failed: {explain(events) or status}")
    return [
        {
            entry["label"]: entry.get("intValue", entry.get("text"))
            for entry in each["metadataEntries"]
            if "intValue" in entry or "text" in entry
        }
        for each in events
        if each["__typename"] == "MaterializationEvent"
    ]


def explain(events: Iterable[Mapping[str, Any]]) -> str:
    """Return the errors that a run's events tell of, each once: a step's is its run's too."""
    errors = (each["error"]["message"] for each in events if each.get("error"))
    return " / ".join(dict.fromkeys(each.strip().removeprefix(_FAILURE_PREFIX) for each in errors))
