"""The run configuration of a batch: what makes a run a function of stream sequences."""

from collections.abc import Sequence
from typing import Any

from dagster import Config
from pydantic import Field

from resources.batch_messages import SequenceRange


class SequenceRangeConfig(Config):
    """Messages between two stream sequences, both included."""

    first: int = Field(ge=1)
    last: int = Field(ge=1)
    count: int = Field(default=0, ge=0, description="Messages expected here; 0 if not known.")


class GivenUpMessage(Config):
    """A message that exceeded its deliveries, and the advisory that said so."""

    sequence: int = Field(ge=1)
    advisory_sequence: int = Field(ge=1)


class EventBatchConfig(Config):
    """One batch of a consumer. To replay or backfill, launch the job with ranges of your choice."""

    ranges: list[SequenceRangeConfig] = Field(
        default_factory=list, description="Stream sequences to persist."
    )
    given_up: list[GivenUpMessage] = Field(
        default_factory=list, description="Messages to record as dead letters."
    )

    @property
    def sequence_ranges(self) -> list[SequenceRange]:
        return [SequenceRange(each.first, each.last, each.count) for each in self.ranges]

    @property
    def is_empty(self) -> bool:
        return not self.ranges and not self.given_up


def batch_run_config(
    asset_names: Sequence[str],
    ranges: Sequence[SequenceRange],
    given_up: Sequence[GivenUpMessage] = (),
) -> dict[str, Any]:
    """Return the run config that hands one batch to the assets of a job.

    Args:
        asset_names: the job's assets that take a batch.
        ranges: what the consumer delivered.
        given_up: messages that exceeded their deliveries.
    """
    batch = {
        "ranges": [
            {"first": each.first, "last": each.last, "count": each.count} for each in ranges
        ],
        "given_up": [each.model_dump() for each in given_up],
    }
    return {"ops": {name: {"config": batch} for name in asset_names}}
