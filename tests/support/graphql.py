"""Questions to a Dagster webserver."""

from typing import Any

import requests


def ask_dagster(url: str, query: str, **variables: Any) -> Any:
    """Return the `data` of a GraphQL answer.

    Raises:
        AssertionError: the answer holds errors.
        requests.RequestException: the webserver cannot be reached.
    """
    reply = requests.post(
        f"{url}/graphql", json={"query": query, "variables": variables}, timeout=30
    )
    answer = reply.json()
    assert not answer.get("errors"), answer["errors"]
    return answer["data"]


_REPOSITORY = {"repositoryLocationName": "sluice", "repositoryName": "__repository__"}


def count_running_automations(url: str) -> int:
    """Return how many sensors and schedules are switched on."""
    answer = ask_dagster(
        url,
        """
        query Automations($repository: RepositorySelector!) {
          sensorsOrError(repositorySelector: $repository) {
            ... on Sensors { results { sensorState { status } } }
          }
          schedulesOrError(repositorySelector: $repository) {
            ... on Schedules { results { scheduleState { status } } }
          }
        }
        """,
        repository=_REPOSITORY,
    )
    states = [
        *(each["sensorState"]["status"] for each in answer["sensorsOrError"]["results"]),
        *(each["scheduleState"]["status"] for each in answer["schedulesOrError"]["results"]),
    ]
    return states.count("RUNNING")


def sensor_states(url: str) -> dict[str, str]:
    """Return sensor name → `RUNNING` or `STOPPED`."""
    answer = ask_dagster(
        url,
        """
        query Sensors($repository: RepositorySelector!) {
          sensorsOrError(repositorySelector: $repository) {
            ... on Sensors { results { name sensorState { status } } }
          }
        }
        """,
        repository=_REPOSITORY,
    )
    return {
        each["name"]: each["sensorState"]["status"] for each in answer["sensorsOrError"]["results"]
    }
