"""The keys that Vector's components know, of those that we use.

From https://vector.dev/docs/reference/configuration/: every component refuses others.
"""

_SINK = {"type", "inputs", "buffer", "healthcheck", "proxy"}
_TRANSFORM = {"type", "inputs", "graph"}

KNOWN_KEYS: dict[str, set[str]] = {
    "nats": {
        "type",
        "url",
        "connection_name",
        "subject",
        "queue",
        "tls",
        "auth",
        "framing",
        "decoding",
        "subject_key_field",
        "subscriber_capacity",
        "jetstream",
    },
    "file": {
        "type",
        "include",
        "exclude",
        "read_from",
        "ignore_older_secs",
        "max_line_bytes",
        "data_dir",
        "glob_minimum_cooldown_ms",
        "remove_after_secs",
        "fingerprint",
    },
    "internal_metrics": {"type", "scrape_interval_secs", "namespace", "tags"},
    "remap": _TRANSFORM
    | {
        "source",
        "file",
        "files",
        "drop_on_error",
        "drop_on_abort",
        "reroute_dropped",
        "timezone",
        "metric_tag_values",
    },
    "route": _TRANSFORM | {"route", "reroute_unmatched"},
    "log_to_metric": _TRANSFORM | {"metrics", "all_metrics"},
    "tag_cardinality_limit": _TRANSFORM
    | {"mode", "value_limit", "limit_exceeded_action", "cache_size_per_key", "per_metric_limits"},
    "prometheus_exporter": _SINK
    | {
        "address",
        "auth",
        "tls",
        "default_namespace",
        "buckets",
        "quantiles",
        "distributions_as_summaries",
        "flush_period_secs",
        "suppress_timestamp",
        "acknowledgements",
    },
    "loki": _SINK
    | {
        "endpoint",
        "path",
        "encoding",
        "tenant_id",
        "labels",
        "structured_metadata",
        "remove_label_fields",
        "remove_structured_metadata_fields",
        "remove_timestamp",
        "compression",
        "out_of_order_action",
        "auth",
        "request",
        "batch",
        "tls",
        "acknowledgements",
    },
}

KNOWN_METRIC_KEYS = {"type", "name", "field", "tags", "namespace", "increment_by_value", "kind"}
KNOWN_SECTIONS = {"data_dir", "api", "secret", "sources", "transforms", "sinks", "tests"}
