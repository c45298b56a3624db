"""The NATS subject taxonomy: `{path}.knowledge.{what}`.

`pipeline.>` is pulled by Dagster sensors, `telemetry.>` by Vector.
"""

from enum import StrEnum


class PipelineSubject(StrEnum):
    """Subjects whose events Dagster persists; losing one is a defect."""

    CHAT_PERSIST = "pipeline.knowledge.chat.persist"
    EMBEDDING = "pipeline.knowledge.embedding"
    RETRIEVE = "pipeline.knowledge.retrieve"
    COMPOSE = "pipeline.knowledge.compose"
    FLOW_LINEAGE = "pipeline.knowledge.flow.lineage"
    TOOL_CALL = "pipeline.knowledge.tool_call"


class TelemetrySubject(StrEnum):
    """Subjects that Vector turns into metrics and logs; lossy by nature."""

    CHAT = "telemetry.knowledge.chat"
    EMBEDDING = "telemetry.knowledge.embedding"
    RETRIEVE = "telemetry.knowledge.retrieve"
    TOOL_CALL = "telemetry.knowledge.tool_call"


Subject = PipelineSubject | TelemetrySubject
