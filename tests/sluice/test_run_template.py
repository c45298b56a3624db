"""The process that runs are forked from."""

import subprocess
import sys

_PROBE = """
import sluice.servers.code_server.run_template as template
import sys, threading, psutil
process = psutil.Process()
print(process.num_threads(), len(process.net_connections()), threading.active_count())
print("assets.event_records.record_assets" in sys.modules, "nats.aio.client" in sys.modules)
print("pyarrow.parquet" in sys.modules, "dbt" in sys.modules)
"""


def test_the_template_has_the_definitions_and_no_thread_nor_connection() -> None:
    """A fork takes neither along, and what is heavy and seldom used is not in it."""
    result = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=120, check=False
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[:3] == ["1 0 1", "True True", "True False"]
