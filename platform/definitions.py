"""The Dagster code location: everything that `workspace.yaml` points at."""

from dagster import Definitions

from assets.chat_pair_dataset import chat_pair_dataset
from assets.consumer_lag import keeps_up_checks
from assets.dead_letters.asset import dead_letters, dead_letters_job
from assets.document_chunks import document_chunks, ingest_job
from assets.event_records.record_assets import derived_assets, record_assets
from assets.jobs import event_jobs
from assets.lake.lake_assets import lake_assets, lake_job
from assets.lake.maintenance_asset import (
    daily_lake_maintenance,
    lake_maintenance,
    maintenance_job,
)
from assets.lake.mart_assets import lake_models, marts_job
from assets.lake.mart_schedule import hourly_marts
from assets.lake.report_asset import lake_report
from assets.lake.schedule import hourly_lake_batches
from assets.reembedding import chunk_reembeddings, promote_job, promoted_embeddings, reembed_job
from assets.retention.dagster_runs import hourly_run_purge, purge_runs_job, purged_runs
from assets.retention.erasure import erased_subjects, erasure_job
from assets.retention.purge import daily_purge, purge_job, purged_events
from assets.retrieval_evaluation import evaluation_job, retrieval_evaluation
from assets.sources import source_assets
from resources.encoder import EncoderResource
from resources.jetstream import JetStreamResource
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from resources.trino import TrinoResource
from sensors.consumer_lag import consumer_lag_watch
from sensors.dead_letters import dead_letters_watch
from sensors.declarations import pull_sensors

defs = Definitions(
    assets=[
        *source_assets,
        *record_assets,
        *derived_assets,
        chat_pair_dataset,
        dead_letters,
        erased_subjects,
        purged_events,
        purged_runs,
        document_chunks,
        chunk_reembeddings,
        promoted_embeddings,
        retrieval_evaluation,
        *lake_assets,
        lake_models,
        lake_maintenance,
        lake_report,
    ],
    asset_checks=keeps_up_checks,
    jobs=[
        *event_jobs,
        dead_letters_job,
        erasure_job,
        purge_job,
        purge_runs_job,
        ingest_job,
        reembed_job,
        promote_job,
        evaluation_job,
        lake_job,
        marts_job,
        maintenance_job,
    ],
    schedules=[
        hourly_lake_batches,
        hourly_marts,
        daily_lake_maintenance,
        daily_purge,
        hourly_run_purge,
    ],
    sensors=[*pull_sensors, consumer_lag_watch, dead_letters_watch],
    resources={
        "jetstream": JetStreamResource(),
        "postgres": PostgresResource(),
        "encoder": EncoderResource(),
        "lake": LakeResource(),
        "trino": TrinoResource(),
    },
)
