"""The six sensors of the platform, one per pipeline subject."""

from dagster import SensorDefinition

from contracts.subjects import PipelineSubject
from sensors.jetstream_pull import build_pull_sensor

pull_sensors: list[SensorDefinition] = [
    build_pull_sensor("nats_dagster_chat_persist", PipelineSubject.CHAT_PERSIST),
    build_pull_sensor("nats_dagster_embedding", PipelineSubject.EMBEDDING),
    build_pull_sensor("nats_dagster_retrieve", PipelineSubject.RETRIEVE),
    build_pull_sensor("nats_dagster_compose", PipelineSubject.COMPOSE),
    build_pull_sensor("nats_dagster_flow_lineage", PipelineSubject.FLOW_LINEAGE),
    build_pull_sensor("nats_dagster_tool_call", PipelineSubject.TOOL_CALL),
]
