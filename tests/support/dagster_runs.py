"""Evaluates sensors and executes what they request, as the daemon would, in this process."""

import runpy
from functools import cache
from pathlib import Path

from dagster import (
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    RunRequest,
    SensorDefinition,
    SkipReason,
    build_sensor_context,
)

from resources.encoder import EncoderResource
from resources.jetstream import JetStreamResource
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from resources.trino import TrinoResource


@cache
def definitions() -> Definitions:
    """The platform's code location, loaded by path as Dagster does."""
    loaded = runpy.run_path(str(Path(__file__).parents[2] / "platform" / "definitions.py"))
    defs: Definitions = loaded["defs"]
    return defs


class Orchestrator:
    """Dagster's daemon and run launcher for a test, on real servers."""

    def __init__(
        self,
        *,
        database_url: str,
        nats_url: str,
        instance: DagsterInstance | None = None,
        encoder: EncoderResource | None = None,
        lake: LakeResource | None = None,
    ) -> None:
        """
        Args:
            encoder: without it, there is none.
            lake: without it, that of the settings.
        """
        self.instance = instance or DagsterInstance.ephemeral()
        self.resources = {
            "jetstream": JetStreamResource(url=nats_url),
            "postgres": PostgresResource(url=database_url),
            "encoder": encoder or EncoderResource(is_enabled=False),
            "lake": lake or LakeResource(),
            "trino": TrinoResource(),
        }

    def tick(self, sensor_name: str) -> list[RunRequest] | str:
        """Evaluate one sensor: the runs it requests, or why it requests none."""
        sensor: SensorDefinition = definitions().resolve_sensor_def(sensor_name)
        with build_sensor_context(
            instance=self.instance, resources=self.resources, definitions=definitions()
        ) as context:
            outcome = list(sensor(context))  # type: ignore[call-overload]
        if len(outcome) == 1 and isinstance(outcome[0], SkipReason):
            return outcome[0].skip_message or ""
        return outcome

    def run(self, request: RunRequest, *, raise_on_error: bool = True) -> ExecuteInProcessResult:
        """Execute a requested run in this process."""
        job = definitions().resolve_job_def(request.job_name or "")
        return job.execute_in_process(
            run_config=request.run_config,
            instance=self.instance,
            partition_key=request.partition_key,
            tags=dict(request.tags),
            resources=self.resources,
            raise_on_error=raise_on_error,
        )

    def drain(self, sensor_name: str) -> list[ExecuteInProcessResult]:
        """Tick once and execute everything that it requests."""
        requests = self.tick(sensor_name)
        assert not isinstance(requests, str), requests
        return [self.run(request) for request in requests]
