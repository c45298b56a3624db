"""The way of the events, from the broker to their deletion."""

from pathlib import Path

from pydantic import Field

from contracts.settings.section import Seconds, Section


class PipelineSettings(Section):
    """The batch contract between sensors and jobs."""

    batch_limit: int = Field(default=50_000, ge=1, description="Events of one run, at most.")
    pull_seconds: float = Field(
        default=15.0, gt=0, le=20, description="Time a sensor's tick may spend pulling."
    )
    ack_wait_seconds: float = Field(default=300.0, ge=5)
    lag_limit_seconds: Seconds = Field(
        default=120.0, description="An event that waits longer turns its asset's check red."
    )
    max_deliver: int = Field(default=10, ge=2, description="Deliveries before a dead letter.")
    dataset_dir: Path | None = Field(
        default=None, description="Where chat pair datasets go; default: `datasets` in data_dir."
    )


class RetentionSettings(Section):
    """How long rows are kept. The lake keeps its own."""

    event_days: int = Field(
        default=0, ge=0, description="Events in PostgreSQL; 0: until they are deleted by hand."
    )
    dead_letter_days: int = Field(
        default=90, ge=0, description="Of letters that were replayed or dropped; 0: likewise."
    )
    run_days: int = Field(
        default=30,
        ge=0,
        description="Dagster's finished runs with their events and materializations; 0: any age.",
    )
    runs_per_job: int = Field(
        default=5_000,
        ge=0,
        description="Of those, how many of each job at most; 0: any number. Fifty always stay.",
    )
