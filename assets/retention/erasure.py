"""Erasure on request: what is known of a request or of a caller is deleted, and stays away."""

from collections.abc import Iterator
from datetime import date
from uuid import uuid4

import msgspec
import sqlalchemy
from dagster import (
    AssetExecutionContext,
    AssetSelection,
    Config,
    Failure,
    MaterializeResult,
    MetadataValue,
    asset,
    define_asset_job,
    in_process_executor,
)
from pydantic import Field
from sqlalchemy import cast, delete, func, insert, select

from assets.chat_pair_dataset import rewrite_day
from assets.event_records.record_assets import OWNER, record_assets
from contracts.headers import CORRELATION_ID
from contracts.tables import (
    EVENT_TABLES,
    api_responses,
    chat_pairs,
    dead_letters,
    erasure_requests,
)
from resources.postgres import PostgresResource

ERASURE_JOB = "forget_subjects"


class ErasureConfig(Config):
    """Whose events are to be erased."""

    correlation_ids: list[str] = Field(default_factory=list, description="Of single requests.")
    api_key_names: list[str] = Field(default_factory=list, description="Names of callers' keys.")

    def subjects(self) -> Iterator[tuple[str, str]]:
        """Yield the column that holds each subject, and the subject."""
        for correlation_id in self.correlation_ids:
            yield "correlation_id", correlation_id
        for name in self.api_key_names:
            yield "api_key_name", name


@asset(
    deps=record_assets,
    group_name="operations",
    description=(
        "Erases what PostgreSQL and the datasets hold of a request or a caller, and notes the"
        " request in `erasure_requests`: for the lake, and so that events that come again are"
        " left out."
    ),
    kinds={"postgres"},
    owners=[OWNER],
)
def erased_subjects(
    context: AssetExecutionContext, config: ErasureConfig, postgres: PostgresResource
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    """Erase the subjects that the config names, a transaction each."""
    subjects = list(config.subjects())
    if not subjects:
        raise Failure("The run names nobody. Give `correlation_ids` or `api_key_names`.")
    row_count, days = 0, set[date]()
    for kind, subject in subjects:
        with postgres.begin() as connection:
            days |= _days_of_pairs(connection, kind, subject)
            rows = _erase(connection, kind, subject)
            connection.execute(
                insert(erasure_requests).values(
                    erasure_id=uuid4(), subject_kind=kind, subject=subject, row_count=rows
                )
            )
        row_count += rows
    for day in sorted(days):
        rewrite_day(day.isoformat(), postgres)
    context.log.info(f"{row_count} rows erased; dataset files of {len(days)} days written anew")
    return MaterializeResult(
        metadata={
            "dagster/row_count": MetadataValue.int(row_count),
            "rows_erased": MetadataValue.int(row_count),
            "dataset_days_rewritten": MetadataValue.int(len(days)),
        }
    )


def _erase(connection: sqlalchemy.Connection, kind: str, subject: str) -> int:
    rows = sum(
        connection.execute(delete(table).where(table.c[kind] == subject)).rowcount
        for table in EVENT_TABLES
    )
    if kind == "api_key_name":
        rows += connection.execute(
            delete(api_responses).where(api_responses.c.api_key_name == subject)
        ).rowcount
        # A dead letter's body need not be JSON: this is what it contains if it is the caller's.
        field = b'"api_key_name":' + msgspec.json.encode(subject)
        condition = (
            func.strpos(
                func.encode(dead_letters.c.body, "escape"),
                func.encode(sqlalchemy.literal(field, sqlalchemy.LargeBinary), "escape"),
            )
            > 0
        )
    else:
        condition = dead_letters.c.headers[CORRELATION_ID].astext == subject
    return rows + connection.execute(delete(dead_letters).where(condition)).rowcount


def _days_of_pairs(connection: sqlalchemy.Connection, kind: str, subject: str) -> set[date]:
    moment = func.timezone("UTC", chat_pairs.c.occurred_at)
    statement = (
        select(cast(moment, sqlalchemy.Date)).where(chat_pairs.c[kind] == subject).distinct()
    )
    return set(connection.scalars(statement))


erasure_job = define_asset_job(
    ERASURE_JOB,
    selection=AssetSelection.assets(erased_subjects),
    description="Erases what is known of requests or callers: `sluice forget`.",
    executor_def=in_process_executor,
)
