"""Documents, cut into chunks that retrieval searches."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetObservation,
    AssetSelection,
    Failure,
    MaterializeResult,
    asset,
    define_asset_job,
    in_process_executor,
)

from assets.ingest_config import IngestConfig
from assets.ingest_figures import IngestOutcome, figures_of, unreadable_table
from assets.sources import DOCUMENT_FILES_KEY
from contracts.settings import load_settings
from resources.encoder import EncoderResource
from resources.postgres import PostgresResource

if TYPE_CHECKING:
    import sqlalchemy

    from knowledge.chunk_encoder import ChunkEncoder

_PROGRESS_INTERVAL_SECONDS = 0.5

INGEST_JOB = "ingest_documents"
ALL_READABLE = "all_documents_readable"


@asset(
    deps=[DOCUMENT_FILES_KEY],
    group_name="documents",
    description=(
        "Passages of the ingested documents, cut along headings, with full-text search and"
        " vectors. An unchanged document is left alone, a changed one replaces its chunks, one"
        " whose file is gone goes."
    ),
    kinds={"postgres"},
    owners=["team:data-platform"],
    check_specs=[
        AssetCheckSpec(
            ALL_READABLE,
            asset="document_chunks",
            description="Every file found under the paths could be read.",
        )
    ],
)
def document_chunks(
    context: AssetExecutionContext,
    config: IngestConfig,
    postgres: PostgresResource,
    encoder: EncoderResource,
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    """Read the files under `paths` and store each in a transaction of its own."""
    files = _find_files(config)
    outcome = IngestOutcome()
    with postgres.connect() as connection:
        _remove(connection, config, files, outcome)
        if files:
            _ingest(context, config, files, connection, encoder, outcome)
    for source in outcome.removed:
        context.log.info(f"{source} was removed")
    for source, reason in outcome.problems:
        context.log.warning(f"{source} was left out: {reason}")
    if files and not outcome.outcomes:
        raise Failure(
            f"None of the {len(files)} files could be read.",
            metadata={"unreadable": unreadable_table(outcome)},
        )
    return MaterializeResult(
        metadata=figures_of(outcome, postgres),
        check_results=[
            AssetCheckResult(
                check_name=ALL_READABLE,
                passed=not outcome.problems,
                severity=AssetCheckSeverity.WARN,
                metadata={"unreadable": len(outcome.problems)},
            )
        ],
    )


ingest_job = define_asset_job(
    INGEST_JOB,
    selection=AssetSelection.assets("document_chunks"),
    description="Reads documents into `document_chunks`; `sluice ingest` launches it.",
    executor_def=in_process_executor,
)


def _find_files(config: IngestConfig) -> list[Path]:
    from knowledge.documents import find_documents

    missing = [path for path in config.paths if not Path(path).exists()]
    if missing:
        raise Failure(f"No such file or folder: {', '.join(missing)}")
    files = list(find_documents([Path(path) for path in config.paths]))
    if not files and not (config.remove and not config.paths):
        raise Failure(
            "No documents were found. Launch the run with `paths` that hold Markdown, text,"
            " HTML or PDF files. What was read from there before stays: to delete it, name the"
            " paths under `remove`."
        )
    return files


def _remove(
    connection: "sqlalchemy.Connection",
    config: IngestConfig,
    files: list[Path],
    outcome: IngestOutcome,
) -> None:
    from knowledge.ingest import remove_missing, remove_paths

    collection = config.collection
    outcome.removed += remove_paths(
        connection, [Path(path) for path in config.remove], collection=collection
    )
    if not config.keep_missing:
        folders = [Path(path) for path in config.paths if Path(path).is_dir()]
        outcome.removed += remove_missing(connection, folders, files, collection=collection)


def _ingest(
    context: AssetExecutionContext,
    config: IngestConfig,
    files: list[Path],
    connection: "sqlalchemy.Connection",
    encoder: EncoderResource,
    outcome: IngestOutcome,
) -> None:
    from knowledge.chunk_encoder import ChunkEncoder
    from knowledge.embedded_text import choose_max_tokens
    from knowledge.embedding_models import EmbeddingModelMismatch

    with encoder.open() as engine:
        chunk_encoder = None
        if engine is not None:
            is_rerank_off = load_settings().retrieval.rerank == "off"
            chunk_encoder = ChunkEncoder(engine, with_tokens=not is_rerank_off)
            outcome.embedding_model = engine.model.name
        outcome.max_tokens = config.max_tokens or choose_max_tokens(
            engine.model if engine else None
        )
        try:
            _store(context, config, files, connection, chunk_encoder, outcome)
        except EmbeddingModelMismatch as error:
            raise Failure(str(error)) from error
        if chunk_encoder is not None:
            outcome.embedded_count = chunk_encoder.text_count


def _store(
    context: AssetExecutionContext,
    config: IngestConfig,
    files: list[Path],
    connection: "sqlalchemy.Connection",
    encoder: "ChunkEncoder | None",
    outcome: IngestOutcome,
) -> None:
    """Store one file after another, noting each in `outcome` and the progress in the run."""
    from knowledge.document_store import refresh_statistics
    from knowledge.embedding_models import require_model
    from knowledge.ingest import Ingest, LeftOut
    from knowledge.vector_index import loading_vectors

    if encoder is not None:
        with connection.begin():
            require_model(connection, encoder.model)
    ingest = Ingest(
        connection,
        collection=config.collection,
        max_tokens=outcome.max_tokens,
        attributes=config.attributes,
        encoder=encoder,
    )
    reported_at = loaded_at = 0.0
    with loading_vectors(connection):
        for result in ingest.run(files):
            if isinstance(result, LeftOut):
                outcome.problems.append((result.source, result.reason))
            else:
                outcome.outcomes[result.outcome] += 1
                outcome.chunk_count += result.chunk_count
                outcome.new_chunk_count += result.new_chunk_count
                if result.warning:
                    context.log.warning(f"{result.source}: {result.warning}")
            is_last = outcome.done == len(files)
            if is_last or time.monotonic() - reported_at > _PROGRESS_INTERVAL_SECONDS:
                context.log_event(_progress(outcome, len(files)))
                reported_at = time.monotonic()
        loaded_at = time.perf_counter()
    with connection.begin():
        refresh_statistics(connection)
    outcome.seconds = {**ingest.seconds, "index": time.perf_counter() - loaded_at}


def _progress(outcome: IngestOutcome, total: int) -> AssetObservation:
    return AssetObservation(
        asset_key="document_chunks",
        description=f"{outcome.done} of {total} files",
        metadata={"files_done": outcome.done, "files_total": total},
    )
