"""Structured logs of the gateway and of the libraries it runs on."""

import logging
import sys
from typing import Literal

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.request_context import current_request


def add_correlation_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put the current request's correlation ID on a line that has none."""
    if "correlation_id" not in event:
        context = current_request.get(None)
        if context is not None:
            event["correlation_id"] = context.correlation_id
    return event


_encoder = msgspec.json.Encoder(enc_hook=repr)


def _encode_line(event: EventDict, **_options: object) -> bytes:
    return _encoder.encode(event)


def _encode_text_line(event: EventDict, **_options: object) -> str:
    return _encoder.encode(event).decode()


def _render_plain_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return a line for a pipe or a file: structlog's own renderer takes four times as long."""
    timestamp, level = event.pop("timestamp", ""), event.pop("level", "")
    message, exception = event.pop("event", ""), event.pop("exception", None)
    fields = " ".join([f"{key}={value}" for key, value in event.items() if value is not None])
    line = f"{timestamp} {level:<8} {message} {fields}".rstrip()
    if not line.isprintable():
        # A client's path may hold line feeds and terminal escapes.
        line = line.encode("unicode_escape").decode("ascii")
    return line if exception is None else f"{line}\n{exception}"


def configure_logging(log_format: Literal["console", "json"]) -> None:
    """Send structlog's and the standard library's logs to standard output, one line each."""
    shared: list[Processor] = [
        add_correlation_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[Processor]
    foreign_rendering: list[Processor]
    logger_factory: structlog.BytesLoggerFactory | structlog.WriteLoggerFactory
    if log_format == "json":
        rendering = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_encode_line),
        ]
        foreign_rendering = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_encode_text_line),
        ]
        logger_factory = structlog.BytesLoggerFactory(sys.stdout.buffer)
    else:
        rendering = (
            [structlog.dev.ConsoleRenderer()]
            if sys.stdout.isatty()
            else [structlog.processors.format_exc_info, _render_plain_line]
        )
        foreign_rendering = rendering
        logger_factory = structlog.WriteLoggerFactory(sys.stdout)
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=logger_factory,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *foreign_rendering,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.INFO)
