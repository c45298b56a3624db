"""For each alert: series that must raise it, and similar ones that must not.

A value list is promtool's: `0+6x30` is 0, 6, 12 … thirty times, one a minute.
https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series
"""

from dataclasses import dataclass

Series = dict[str, str]

_CHAT = 'method="POST", path="/v1/chat/completions"'
_SUBJECT = 'subject="telemetry.knowledge.chat"'
_LOST = 'sluice_gateway_events_dropped_total{subject="pipeline.knowledge.tool_call", reason="x"}'


@dataclass(frozen=True)
class AlertCase:
    fires: Series
    quiet: Series
    minutes: int = 30
    """When both are looked at."""


def _requests(errors: str, answers: str) -> Series:
    return {
        f'sluice_gateway_requests_total{{{_CHAT}, status="502"}}': errors,
        f'sluice_gateway_requests_total{{{_CHAT}, status="200"}}': answers,
        'sluice_gateway_requests_total{method="GET", path="/healthz", status="200"}': "0+900x40",
    }


def _buckets(name: str, labels: str, counts: dict[str, str]) -> Series:
    return {f'{name}_bucket{{{labels}, le="{bound}"}}': values for bound, values in counts.items()}


def _durations(within_60: str, within_300: str) -> Series:
    return _buckets(
        "sluice_gateway_request_duration_seconds",
        'path="/v1/messages"',
        {"60": within_60, "300": within_300, "+Inf": within_300},
    )


def _first_tokens(within_1: str, within_30: str) -> Series:
    return _buckets(
        "sluice_chat_first_token_seconds",
        'model="m", backend="b"',
        {"1": within_1, "30": within_30, "+Inf": within_30},
    )


def _telemetry(shipped: str, read: str | None) -> Series:
    series = {f"sluice_gateway_events_shipped_total{{{_SUBJECT}}}": shipped}
    return series | ({f"sluice_telemetry_events_total{{{_SUBJECT}}}": read} if read else {})


ALERT_CASES: dict[str, list[AlertCase]] = {
    "TargetDown": [AlertCase({'up{job="gateway"}': "0x40"}, {'up{job="gateway"}': "1x40"})],
    "GatewayErrors": [
        AlertCase(_requests("0+6x40", "0+60x40"), _requests("0+2x40", "0+60x40")),
        # Nobody asks for anything.
        AlertCase(_requests("0+6x40", "0x40"), _requests("0x40", "0x40")),
    ],
    "GatewaySlow": [
        AlertCase(_durations("0+90x40", "0+100x40"), _durations("0+100x40", "0+100x40"))
    ],
    "FirstTokenSlow": [
        AlertCase(_first_tokens("0+50x40", "0+100x40"), _first_tokens("0+99x40", "0+100x40"))
    ],
    "BackendBreakerOpen": [
        AlertCase(
            {'sluice_gateway_backend_breaker_state{backend="b"}': "2x40"},
            {'sluice_gateway_backend_breaker_state{backend="b"}': "1x40"},
        )
    ],
    "BackendDown": [
        AlertCase(
            {'sluice_gateway_backend_up{backend="b"}': "0x40"},
            {'sluice_gateway_backend_up{backend="b"}': "1x40"},
        )
    ],
    "SearchesFail": [
        AlertCase(
            {'sluice_gateway_search_failures_total{stage="embed"}': "0+1x40"},
            {'sluice_gateway_search_failures_total{stage="embed"}': "0 0 1x40"},
        )
    ],
    "BrokerLost": [
        AlertCase(
            {"sluice_gateway_broker_connected": "0x40"},
            {"sluice_gateway_broker_connected": "1x29 0x10"},
        )
    ],
    "SpoolGrowing": [
        AlertCase(
            {"sluice_gateway_events_waiting": "0+100x40"},
            {"sluice_gateway_events_waiting": "9000-100x40"},
        ),
        AlertCase(
            {"sluice_gateway_events_waiting": "2000+1x40"},
            {"sluice_gateway_events_waiting": "0+1x40"},
        ),
    ],
    "SpoolNotWritable": [
        AlertCase(
            {"sluice_gateway_spool_writable": "0x40"}, {"sluice_gateway_spool_writable": "1x40"}
        )
    ],
    "EventsLost": [
        # The first lost event makes the series; a later one makes it grow.
        AlertCase({_LOST: "_x25 1x10"}, {_LOST: "1x40"}),
        AlertCase(
            {_LOST: "1x25 2x10"},
            {_LOST.replace("pipeline.", "telemetry."): "_x25 1x10"},
        ),
    ],
    "TelemetryGap": [
        AlertCase(_telemetry("0+100x40", "0+90x40"), _telemetry("0+100x40", "0+100x40")),
        # Vector has never read any.
        AlertCase(_telemetry("0+100x40", None), _telemetry("0+1x40", "0+0.5x40")),
    ],
    "TelemetryBehind": [
        AlertCase(
            {'sluice_pipeline_events_waiting{consumer="vector"}': "20000x40"},
            {'sluice_pipeline_events_waiting{consumer="knowledge_retrieve"}': "20000x40"},
        )
    ],
    "ConsumerBehind": [
        AlertCase(
            {'sluice_pipeline_lag_seconds{consumer="knowledge_retrieve"}': "0+60x40"},
            {'sluice_pipeline_lag_seconds{consumer="knowledge_retrieve"}': "200x40"},
        )
    ],
    "DeadLetters": [
        AlertCase(
            {'sluice_pipeline_dead_letters{reason="undecodable"}': "1x40"},
            {'sluice_pipeline_dead_letters{reason="undecodable"}': "1x20 _x20"},
        )
    ],
    "RunsFail": [
        AlertCase(
            {'sluice_pipeline_failed_runs{dagster_job="j"}': "3x40"},
            {'sluice_pipeline_failed_runs{dagster_job="j"}': "2x40"},
        )
    ],
    "PipelineUnseen": [
        AlertCase(
            {'sluice_pipeline_source_up{source="broker"}': "0x40"},
            {'sluice_pipeline_source_up{source="broker"}': "1x28 0x12"},
        )
    ],
    "LakeStale": [
        AlertCase(
            {"sluice_pipeline_lake_behind_seconds": "12000x40"},
            {"sluice_pipeline_lake_behind_seconds": "7000x40"},
        )
    ],
    "EncoderRefuses": [
        AlertCase(
            {"sluice_encoder_refusals_total": "0+2x40"}, {"sluice_encoder_refusals_total": "5x40"}
        )
    ],
    "EncoderFails": [
        AlertCase(
            {"sluice_encoder_inference_failures_total": "0x25 1x10"},
            {"sluice_encoder_inference_failures_total": "0 1x40"},
        )
    ],
}
