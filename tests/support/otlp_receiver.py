"""A collector of traces for tests: OTLP over HTTP, decoded by OpenTelemetry's proto."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass
class ReceivedSpan:
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start: int
    end: int
    status: int
    attributes: dict[str, Any]
    events: list[str]
    links: list[str]
    """Trace IDs."""


@dataclass
class OtlpReceiverDouble:
    """Not a real collector: it keeps spans and has no pipeline."""

    url: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    stalls: threading.Event = field(default_factory=threading.Event)
    """While it is set, requests are taken and not answered."""

    def wait_for(self, count: int, *, name: str = "", seconds: float = 20) -> list[ReceivedSpan]:
        """Return the spans whose name begins with `name`, once there are `count`."""
        deadline = time.monotonic() + seconds
        while True:
            found = [span for span in self.spans if span.name.startswith(name)]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, [span.name for span in self.spans]
            time.sleep(0.02)


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiverDouble]:
    """Listen on 127.0.0.1 until the end of the block."""
    receiver = OtlpReceiverDouble()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            while receiver.stalls.is_set():
                time.sleep(0.02)
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            is_expected = self.path == "/v1/traces"
            if is_expected:
                receiver.headers.append({k.lower(): v for k, v in self.headers.items()})
                receiver.spans += list(_decode(body))
            self.send_response(200 if is_expected else 404)
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.stalls.clear()
        server.shutdown()
        server.server_close()


def _decode(body: bytes) -> Iterator[ReceivedSpan]:
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _values(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield ReceivedSpan(
                    service=resource["service.name"],
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.kind,
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    status=span.status.code,
                    attributes=_values(span.attributes),
                    events=[event.name for event in span.events],
                    links=[link.trace_id.hex() for link in span.links],
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
