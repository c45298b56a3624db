"""Vectors of another model: a backfill beside the serving ones, then the switch."""

import time

from dagster import (
    AssetExecutionContext,
    AssetSelection,
    Config,
    Failure,
    MaterializeResult,
    MetadataValue,
    StaticPartitionsDefinition,
    asset,
    define_asset_job,
    in_process_executor,
)
from pydantic import Field

from resources.encoder import EncoderResource
from resources.postgres import PostgresResource

REEMBED_JOB = "reembed_documents"
PROMOTE_JOB = "promote_embeddings"

# `knowledge.reembedding.PARTITIONS`, whose import would be NumPy's too; a test compares them.
chunk_partitions = StaticPartitionsDefinition(list("0123456789abcdef"))
"""First hexadecimal digits of chunk IDs."""

_LOGGED_CHUNKS = 5000


class ReembedConfig(Config):
    """The model to embed with."""

    model_dir: str | None = Field(
        default=None,
        description="Folder of the model, on the code location's host. Default: the encoder of"
        " the platform's settings.",
    )
    precision: str | None = Field(
        default=None, description="`int8` or `fp32`. Default: the platform's settings."
    )


class PromoteConfig(Config):
    """The model to switch to."""

    model: str | None = Field(
        default=None,
        description="Its name. Default: the one that `chunk_reembeddings` has vectors of.",
    )


@asset(
    partitions_def=chunk_partitions,
    deps=["document_chunks"],
    group_name="documents",
    description=(
        "Vectors of a model that is to become the active one, for each chunk by the first digit"
        " of its ID. Only what is missing is made, so a run may be killed and repeated. Searches"
        " go on with the old vectors."
    ),
    kinds={"postgres"},
    owners=["team:data-platform"],
)
def chunk_reembeddings(
    context: AssetExecutionContext,
    config: ReembedConfig,
    postgres: PostgresResource,
    encoder: EncoderResource,
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    """Embed the partition's chunks that have no vector of the model yet."""
    from knowledge.chunk_encoder import ChunkEncoder
    from knowledge.reembedding import count_partition, reembed_partition

    partition = context.partition_key
    started = time.perf_counter()
    with (
        encoder.open(model_dir=config.model_dir, precision=config.precision) as engine,
        postgres.connect() as connection,
    ):
        if engine is None:
            raise Failure("The encoder is off: set `encoder.enabled` or name a `model_dir`.")
        chunk_encoder = ChunkEncoder(engine, with_tokens=True)
        made = logged = 0
        for size in reembed_partition(connection, partition, chunk_encoder):
            made += size
            if made - logged >= _LOGGED_CHUNKS:
                context.log.info(f"{made} chunks embedded")
                logged = made
        with connection.begin():
            count = count_partition(connection, partition, engine.model.name)
        model = engine.model
    seconds = time.perf_counter() - started
    return MaterializeResult(
        metadata={
            "dagster/partition_row_count": MetadataValue.int(count.embedded),
            "chunks_of_partition": MetadataValue.int(count.chunks),
            "chunks_embedded": MetadataValue.int(made),
            "chunks_per_second": MetadataValue.float(round(made / seconds, 1)),
            "embedding_model": MetadataValue.text(model.name),
            "dimensions": MetadataValue.int(model.dimensions),
        }
    )


@asset(
    deps=[chunk_reembeddings],
    group_name="documents",
    description=(
        "The switch of `document_chunks` to the vectors of `chunk_reembeddings`, in one"
        " transaction. It is refused while a chunk has no new vector."
    ),
    kinds={"postgres"},
    owners=["team:data-platform"],
)
def promoted_embeddings(
    context: AssetExecutionContext, config: PromoteConfig, postgres: PostgresResource
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    """Promote the new vectors."""
    from knowledge.document_store import refresh_statistics
    from knowledge.promotion import ChunksNotReembedded, promote
    from knowledge.reembedding import NoCandidateModel, find_candidate

    started = time.perf_counter()
    with postgres.connect() as connection:
        try:
            with connection.begin():
                promotion = promote(connection, find_candidate(connection, config.model))
        except (ChunksNotReembedded, NoCandidateModel) as error:
            raise Failure(str(error)) from error
        with connection.begin():
            refresh_statistics(connection)
    previous = promotion.previous_model
    context.log.info(
        f"{promotion.model} serves now; an encoder of another model is not used with it"
    )
    return MaterializeResult(
        metadata={
            "dagster/row_count": MetadataValue.int(promotion.chunk_count),
            "embedding_model": MetadataValue.text(promotion.model.name),
            "dimensions": MetadataValue.int(promotion.model.dimensions),
            "previous_model": MetadataValue.text(str(previous) if previous else "none"),
            "seconds": MetadataValue.float(round(time.perf_counter() - started, 3)),
        }
    )


reembed_job = define_asset_job(
    REEMBED_JOB,
    selection=AssetSelection.assets(chunk_reembeddings),
    description="Embeds all chunks with another model; launch it over all partitions.",
    executor_def=in_process_executor,
)
promote_job = define_asset_job(
    PROMOTE_JOB,
    selection=AssetSelection.assets(promoted_embeddings),
    description="Switches searches to the vectors that `reembed_documents` has made.",
    executor_def=in_process_executor,
)
