"""Header names, on HTTP and on NATS messages."""

CORRELATION_ID = "X-Correlation-ID"
REQUEST_ID = "X-Request-ID"
TRACEPARENT = "traceparent"
"""W3C Trace Context, https://www.w3.org/TR/trace-context/."""

NATS_MESSAGE_ID = "Nats-Msg-Id"
"""JetStream drops a second message with the same ID within the duplicate window."""
