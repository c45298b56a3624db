"""The assets that persist events: one per kind, all by the same batch contract."""

from datetime import UTC, datetime

import sqlalchemy
from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableRecord,
    asset,
)

from assets.batch_config import EventBatchConfig
from assets.event_records.batch_trace import BatchTrace, open_batch_trace
from assets.event_records.derived_rows import DerivedRows
from assets.event_records.kinds import RECORD_KINDS, RecordKind
from assets.event_records.persist import (
    BatchOutcome,
    acknowledge_batch,
    give_back_batch,
    persist_batch,
    terminate_dead_letters,
)
from assets.sources import subject_key
from contracts.streams import PIPELINE, consumer_of_job
from resources.event_loop import run_async
from resources.jetstream import JetStreamResource
from resources.postgres import PostgresResource
from resources.run_liveness import hold_until_process_ends

OWNER = "team:data-platform"
NO_DEAD_LETTERS = "no_dead_letters"
NOTHING_MISSING = "nothing_missing"
_PREVIEW_ROWS = 10

DEFERRED_SETTLEMENT = frozenset({"chat_pair_record"})
"""Assets whose batch is acknowledged by a later step of their run."""


def build_record_asset(kind: RecordKind) -> AssetsDefinition:
    """Return the asset of `kind`. A run of it persists the batch that its config names."""
    consumer = consumer_of_job(kind.job_name)

    @asset(
        name=kind.asset_name,
        deps=[subject_key(kind.subject)],
        group_name=kind.group,
        description=kind.description,
        kinds={"nats", "postgres"},
        owners=[OWNER],
        tags={"subject": kind.subject.replace("pipeline.", "")},
        check_specs=[
            AssetCheckSpec(
                NO_DEAD_LETTERS,
                asset=kind.asset_name,
                description="Every message of the batch became a row.",
            ),
            AssetCheckSpec(
                NOTHING_MISSING,
                asset=kind.asset_name,
                description="The stream still held every message that the consumer was given.",
            ),
        ],
    )
    def record(
        context: AssetExecutionContext,
        config: EventBatchConfig,
        jetstream: JetStreamResource,
        postgres: PostgresResource,
    ) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
        if config.is_empty:
            raise Failure(
                "The run names no stream sequences. Launch it with `ranges`, such as"
                " [{first: 1, last: 100}]; the sensors do so by themselves."
            )
        hold_until_process_ends(postgres, context.run.run_id)
        trace = open_batch_trace(context.run.run_id, kind.asset_name)
        try:
            outcome, waiting = run_async(_run_batch(kind, config, jetstream, postgres, trace))
        except Exception as error:
            if trace is not None:
                trace.finish({}, error=repr(error))
            context.log.exception("the batch failed and is given back")
            run_async(give_back_batch(jetstream, consumer, config))
            raise
        if trace is not None:
            trace.finish(_trace_figures(outcome))
        context.log.info(
            f"{outcome.new_rows} rows written, {outcome.duplicates} duplicates,"
            f" {outcome.dead_letters} dead letters"
        )
        if kind.derived is not None:
            context.log_event(_derived_materialization(kind.derived, outcome))
        return MaterializeResult(
            metadata={
                **_figures(config, outcome, waiting),
                "preview": _preview(kind, outcome, postgres),
            },
            check_results=_check_results(outcome),
        )

    return record


async def _run_batch(
    kind: RecordKind,
    batch: EventBatchConfig,
    jetstream: JetStreamResource,
    postgres: PostgresResource,
    trace: BatchTrace | None,
) -> tuple[BatchOutcome, int]:
    """Persist and settle the batch; return its outcome and how many events still wait."""
    consumer = consumer_of_job(kind.job_name)
    async with jetstream.connect() as client:
        outcome = await persist_batch(
            kind, consumer, batch, client=client, postgres=postgres, trace=trace
        )
        await terminate_dead_letters(client, consumer, outcome)
        if kind.asset_name not in DEFERRED_SETTLEMENT:
            await acknowledge_batch(client, consumer, batch, outcome.settled)
        info = await client.jetstream().consumer_info(PIPELINE, consumer.durable_name)
    return outcome, info.num_pending or 0


def _trace_figures(outcome: BatchOutcome) -> dict[str, int]:
    return {
        "messages_read": outcome.read,
        "rows_written": outcome.new_rows,
        "duplicates_skipped": outcome.duplicates,
        "dead_letters": outcome.dead_letters,
    }


def _derived_materialization(derived: DerivedRows, outcome: BatchOutcome) -> AssetMaterialization:
    return AssetMaterialization(
        derived.asset_name,
        metadata={
            "dagster/row_count": MetadataValue.int(outcome.derived_rows),
            "rows_written": MetadataValue.int(outcome.derived_rows),
            "events_read": MetadataValue.int(outcome.read),
        },
    )


def _figures(
    batch: EventBatchConfig, outcome: BatchOutcome, waiting: int
) -> dict[str, MetadataValue]:
    figures: dict[str, MetadataValue] = {
        "dagster/row_count": MetadataValue.int(outcome.new_rows),
        "rows_written": MetadataValue.int(outcome.new_rows),
        "duplicates_skipped": MetadataValue.int(outcome.duplicates),
        "dead_letters": MetadataValue.int(outcome.dead_letters),
        "erased_on_request": MetadataValue.int(outcome.erased),
        "events_without_row": MetadataValue.int(outcome.without_row),
        "messages_read": MetadataValue.int(outcome.read),
        "body_bytes": MetadataValue.int(outcome.body_bytes),
        "sequence_ranges": MetadataValue.text(
            ", ".join(f"{each.first}-{each.last}" for each in batch.ranges[:20])
        ),
        "events_still_waiting": MetadataValue.int(waiting),
    }
    if outcome.first_event_at and outcome.last_event_at:
        figures["first_event_at"] = MetadataValue.timestamp(outcome.first_event_at)
        figures["last_event_at"] = MetadataValue.timestamp(outcome.last_event_at)
        lag = datetime.now(UTC) - outcome.last_event_at
        figures["lag_seconds"] = MetadataValue.float(round(lag.total_seconds(), 3))
    return figures


def _check_results(outcome: BatchOutcome) -> list[AssetCheckResult]:
    return [
        AssetCheckResult(
            check_name=NO_DEAD_LETTERS,
            passed=outcome.dead_letters == 0,
            severity=AssetCheckSeverity.WARN,
            metadata={"dead_letters": outcome.dead_letters},
        ),
        AssetCheckResult(
            check_name=NOTHING_MISSING,
            passed=outcome.missing == 0,
            severity=AssetCheckSeverity.ERROR,
            metadata={"missing": outcome.missing},
        ),
    ]


def _preview(kind: RecordKind, outcome: BatchOutcome, postgres: PostgresResource) -> MetadataValue:
    table = kind.table
    statement = (
        sqlalchemy.select(*(table.c[name] for name in kind.preview_columns))
        .where(table.c.occurred_at.between(outcome.first_event_at, outcome.last_event_at))
        .order_by(table.c.occurred_at.desc())
        .limit(_PREVIEW_ROWS)
    )
    with postgres.begin() as connection:
        rows = connection.execute(statement).all()
    if not rows:
        return MetadataValue.text("no rows")
    return MetadataValue.table(
        [
            TableRecord(
                dict(zip(kind.preview_columns, (_shown(value) for value in row), strict=True))
            )
            for row in rows
        ]
    )


def _shown(value: object) -> str | int | float | bool:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, str | int | float | bool):
        return value[:200] if isinstance(value, str) else value
    return "" if value is None else str(value)[:200]


def _derived_spec(kind: RecordKind, derived: DerivedRows) -> AssetSpec:
    return AssetSpec(
        derived.asset_name,
        deps=[kind.asset_name],
        group_name=derived.group,
        description=f"{derived.description} Written by the runs of `{kind.asset_name}`.",
        kinds={"postgres"},
        owners=[OWNER],
    )


record_assets: list[AssetsDefinition] = [build_record_asset(kind) for kind in RECORD_KINDS]
derived_assets: list[AssetSpec] = [
    _derived_spec(kind, kind.derived) for kind in RECORD_KINDS if kind.derived is not None
]
"""What the record assets' runs write besides, in the same transactions."""
