"""Load from wrk: one thread, one request over and over, as fast as it goes or at a pace."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

_SCRIPT = """
wrk.method = "POST"
{headers}
wrk.body = [==[{body}]==]
{pace}
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
# Each connection pauses for a random time between two requests, so that they arrive apart. wrk
# starts a request's clock after the pause.
_PACE = """
math.randomseed({connections})
function delay() return math.random(0, {longest_pause_milliseconds}) end
"""
_PACED_CONNECTIONS = 64
_TIMEOUT_SECONDS = 30
_GRACE_SECONDS = _TIMEOUT_SECONDS + 15


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

    connections: int
    request_count: int
    """Answers with a status below 400."""
    failed_count: int
    """Connections that broke, answers that did not come in time, statuses of 400 and more."""
    requests_per_second: float
    p50_milliseconds: float
    p99_milliseconds: float


@dataclass(frozen=True)
class Request:
    """What is sent over and over."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wrk:
    """The program, and a folder for its scripts."""

    program: Path
    folder: Path

    def saturate(self, request: Request, *, connections: int, seconds: int) -> LoadResult:
        """Send the next request on each connection as soon as the answer is there.

        Raises:
            LoadFailed: wrk ended with an error.
        """
        return self._run(request, connections, seconds, pace="")

    def send_at_pace(self, request: Request, *, per_second: float, seconds: int) -> LoadResult:
        """Send about `per_second` requests, as long as the answers come much faster than that.

        Raises:
            LoadFailed: wrk ended with an error.
        """
        connections = _PACED_CONNECTIONS
        longest_pause = round(2 * connections / per_second * 1000)
        pace = _PACE.format(connections=connections, longest_pause_milliseconds=longest_pause)
        return self._run(request, connections, seconds, pace=pace)

    def _run(self, request: Request, connections: int, seconds: int, *, pace: str) -> LoadResult:
        headers = {"Content-Type": "application/json", **request.headers}
        script = self.folder / "request.lua"
        script.write_text(
            _SCRIPT.format(
                headers="\n".join(f'wrk.headers["{name}"] = "{headers[name]}"' for name in headers),
                body=request.body.decode(),
                pace=pace,
            )
        )
        result = subprocess.run(
            [
                str(self.program),
                *("-t1", f"-c{connections}", f"-d{seconds}s"),
                *("--timeout", f"{_TIMEOUT_SECONDS}s"),
                *("-s", str(script)),
                request.url,
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
            connections=connections,
            request_count=summary.requests,
            failed_count=summary.failed,
            requests_per_second=summary.requests / (summary.duration_us / 1e6),
            p50_milliseconds=summary.p50_us / 1000,
            p99_milliseconds=summary.p99_us / 1000,
        )
