"""What Prometheus' client reports of each Python process by itself."""

from contracts.metrics.definition import Exposer, Metric

_BY = (Exposer.GATEWAY, Exposer.ENCODER)

PROCESS_METRICS = (
    Metric(
        "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", _BY, (), "bytes"
    ),
    Metric(
        "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", _BY, (), "bytes"
    ),
    Metric(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        _BY,
        unit="seconds",
        of_workers="livemin",
    ),
    Metric(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        _BY,
        unit="seconds",
    ),
    Metric("process_open_fds", "gauge", "Number of open file descriptors.", _BY, unit="files"),
    Metric(
        "process_max_fds", "gauge", "Maximum number of open file descriptors.", _BY, unit="files"
    ),
)
