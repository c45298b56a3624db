"""JetStream streams and durable consumers, as code.

Units are nats-py's: ages and waits in seconds.
"""

from dataclasses import dataclass

from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from contracts.subjects import PipelineSubject

PIPELINE = "PIPELINE"
TELEMETRY = "TELEMETRY"
ADVISORIES = "ADVISORIES"

MAX_DELIVERIES_ADVISORY = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES"
TERMINATED_ADVISORY = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED"

_HOUR = 3600.0


TELEMETRY_CONSUMER = "vector"
"""The durable on `TELEMETRY`. Vector makes none of its own."""
TERMINATED_CONSUMER = "terminated_messages"
"""The durable on `ADVISORIES` that tells which messages of `PIPELINE` were terminated."""


@dataclass(frozen=True)
class PipelineConsumer:
    """A durable pull consumer on `PIPELINE`, and the Dagster job that its batches go to."""

    durable_name: str
    subject: PipelineSubject
    job_name: str

    @property
    def advisories_durable_name(self) -> str:
        """The consumer on `ADVISORIES` that tells which messages this one gave up."""
        return f"{self.durable_name}_given_up"

    @property
    def max_deliveries_subject(self) -> str:
        return f"{MAX_DELIVERIES_ADVISORY}.{PIPELINE}.{self.durable_name}"


PIPELINE_CONSUMERS: tuple[PipelineConsumer, ...] = tuple(
    PipelineConsumer(durable_name=job_name, subject=subject, job_name=job_name)
    for job_name, subject in (
        ("knowledge_chat_persist", PipelineSubject.CHAT_PERSIST),
        ("knowledge_chat_pair_materialize", PipelineSubject.CHAT_PERSIST),
        ("knowledge_embedding", PipelineSubject.EMBEDDING),
        ("knowledge_retrieve", PipelineSubject.RETRIEVE),
        ("knowledge_compose", PipelineSubject.COMPOSE),
        ("knowledge_flow_lineage", PipelineSubject.FLOW_LINEAGE),
        ("knowledge_tool_call", PipelineSubject.TOOL_CALL),
    )
)
"""One consumer a job, not one a subject: each job acknowledges on its own."""


def consumer_of_job(job_name: str) -> PipelineConsumer:
    """Return the consumer whose batches `job_name` persists. Raises KeyError."""
    for consumer in PIPELINE_CONSUMERS:
        if consumer.job_name == job_name:
            return consumer
    raise KeyError(job_name)


def stream_configs(
    replicas: int = 1, *, pipeline_max_bytes: int = 0, telemetry_max_bytes: int = 0
) -> tuple[StreamConfig, ...]:
    """Return the platform's streams.

    Args:
        replicas: 3 on a cluster.
        pipeline_max_bytes: 0 for no limit.
        telemetry_max_bytes: likewise.
    """
    return (
        _stream(
            PIPELINE,
            ["pipeline.>"],
            max_age=72 * _HOUR,
            replicas=replicas,
            description="Events of model calls, pulled by Dagster sensors",
            max_bytes=pipeline_max_bytes,
            # An event that no consumer has seen must not make room for another.
            discard=DiscardPolicy.NEW,
        ),
        _stream(
            TELEMETRY,
            ["telemetry.>"],
            max_age=24 * _HOUR,
            replicas=replicas,
            description="Figures of model calls, pulled by Vector",
            max_bytes=telemetry_max_bytes,
        ),
        _stream(
            ADVISORIES,
            [f"{MAX_DELIVERIES_ADVISORY}.{PIPELINE}.>", f"{TERMINATED_ADVISORY}.{PIPELINE}.>"],
            max_age=72 * _HOUR,
            replicas=replicas,
            description="Messages of PIPELINE that a consumer gave up or terminated",
        ),
    )


def _stream(
    name: str,
    subjects: list[str],
    *,
    max_age: float,
    replicas: int,
    description: str,
    max_bytes: int = 0,
    discard: DiscardPolicy = DiscardPolicy.OLD,
) -> StreamConfig:
    return StreamConfig(
        name=name,
        description=description,
        subjects=subjects,
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=discard,
        max_bytes=max_bytes or -1,
        max_age=max_age,
        # Long enough for a publisher that ships an event again after a broker's restart.
        duplicate_window=600.0,
        num_replicas=replicas,
        allow_direct=True,
        # The gateway commits many events at once (ADR-50); brokers before 2.12 know no such
        # field, and the gateway then publishes one by one.
        allow_atomic=True,
    )


def terminated_consumer_config(*, ack_wait_seconds: float) -> ConsumerConfig:
    """Return the configuration of `TERMINATED_CONSUMER`."""
    return ConsumerConfig(
        durable_name=TERMINATED_CONSUMER,
        description="Messages that were terminated",
        filter_subject=f"{TERMINATED_ADVISORY}.{PIPELINE}.>",
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_seconds,
        max_ack_pending=-1,
    )


def telemetry_consumer_config() -> ConsumerConfig:
    """Return the configuration of `TELEMETRY_CONSUMER`, from which Vector only reads."""
    return ConsumerConfig(
        durable_name=TELEMETRY_CONSUMER,
        description="Figures that Vector turns into metrics and logs",
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=60.0,
        max_ack_pending=-1,
    )


def consumer_configs(
    consumer: PipelineConsumer, *, batch_limit: int, ack_wait_seconds: float, max_deliver: int
) -> tuple[tuple[str, ConsumerConfig], ...]:
    """Return (stream, configuration) of the durables that `consumer` stands for.

    `batch_limit` bounds the messages in flight: JetStream's own default of 1,000 would cap
    a batch there.
    """
    return (
        (
            PIPELINE,
            ConsumerConfig(
                durable_name=consumer.durable_name,
                description=f"Batches of the Dagster job {consumer.job_name}",
                filter_subject=consumer.subject,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ack_wait_seconds,
                max_deliver=max_deliver,
                max_ack_pending=batch_limit,
                headers_only=True,
            ),
        ),
        (
            ADVISORIES,
            ConsumerConfig(
                durable_name=consumer.advisories_durable_name,
                description=f"Messages that {consumer.durable_name} gave up",
                filter_subject=consumer.max_deliveries_subject,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ack_wait_seconds,
                max_ack_pending=batch_limit,
            ),
        ),
    )
