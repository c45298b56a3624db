"""Load from wrk: one thread, 32 connections, one chat request over and over."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec

CONNECTIONS = 32

_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[{body}]==]

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n{{"requests": %d, "duration_us": %d, "failed": %d, "p50_us": %d, "p99_us": %d}}\\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)
  ))
end
"""
_GRACE_SECONDS = 15


class LoadFailed(Exception):
    """wrk itself failed."""


class _Summary(msgspec.Struct):
    requests: int
    duration_us: int
    failed: int
    p50_us: int
    p99_us: int


@dataclass(frozen=True)
class LoadResult:
    """One round of load."""

    request_count: int
    """Answers with a status below 400."""
    failed_count: int
    """Connections that broke, answers that did not come within 2 s, statuses of 400 and more."""
    requests_per_second: float
    p50_milliseconds: float
    p99_milliseconds: float


@dataclass(frozen=True)
class WrkLoad:
    """A chat request that wrk sends."""

    wrk: Path
    script: Path

    @classmethod
    def of_request(cls, wrk: Path, script: Path, body: bytes) -> "WrkLoad":
        """Write wrk's Lua script for `POST` requests with `body` to the file `script`."""
        script.write_text(_SCRIPT.format(body=body.decode()))
        return cls(wrk, script)

    def run(self, url: str, seconds: int) -> LoadResult:
        """Send requests to `url` for so long.

        Raises:
            LoadFailed: wrk ended with an error.
        """
        result = subprocess.run(
            [
                str(self.wrk),
                *("-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"),
                *("-s", str(self.script)),
                url,
            ],
            capture_output=True,
            text=True,
            timeout=seconds + _GRACE_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            raise LoadFailed(result.stderr.strip() or result.stdout.strip())
        summary = msgspec.json.decode(result.stdout.strip().splitlines()[-1], type=_Summary)
        return LoadResult(
            request_count=summary.requests,
            failed_count=summary.failed,
            requests_per_second=summary.requests / (summary.duration_us / 1e6),
            p50_milliseconds=summary.p50_us / 1000,
            p99_milliseconds=summary.p99_us / 1000,
        )
