"""The jobs that the sensors launch, one per durable consumer."""

from dagster import AssetSelection, define_asset_job, in_process_executor
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.consumer_lag import keeps_up_checks
from assets.event_records.kinds import CHAT_PAIR, RECORD_KINDS, RecordKind

BATCH_ASSETS: dict[str, tuple[str, ...]] = {
    kind.job_name: (
        (kind.asset_name, "chat_pair_dataset") if kind is CHAT_PAIR else (kind.asset_name,)
    )
    for kind in RECORD_KINDS
}
"""Job name → its assets that take the batch as their config, in order."""


def _event_job(kind: RecordKind) -> UnresolvedAssetJobDefinition:
    return define_asset_job(
        kind.job_name,
        selection=AssetSelection.assets(*BATCH_ASSETS[kind.job_name])
        # A sensor evaluates these; as a step of each run they would cost as much as a batch.
        - AssetSelection.checks(*keeps_up_checks),
        description=f"Persists batches of events on `{kind.subject}`.",
        # A process per step would cost more than the whole batch.
        executor_def=in_process_executor,
    )


event_jobs: list[UnresolvedAssetJobDefinition] = [_event_job(kind) for kind in RECORD_KINDS]
