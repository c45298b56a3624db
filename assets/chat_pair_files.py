"""Writes chat pairs as JSONL and Parquet.

JSONL lines are `{"messages": […]}` with `"tools"` where the request had tools, as fine-tuning
tools read them (https://platform.openai.com/docs/guides/supervised-fine-tuning). Parquet has the
same conversations with their origin.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec


def write_pair_files(
    folder: Path, minute: datetime, pairs: Sequence[Mapping[Any, Any]]
) -> list[bytes]:
    """Replace the files of `minute` by `pairs`, or remove them where there are none.

    They are `hour=HH/minute=MM.jsonl` and `.parquet`. A reader sees the old file or the new one,
    never a part. Returns the JSONL lines.
    """
    stem = folder / f"hour={minute:%H}" / f"minute={minute:%M}"
    jsonl, parquet = stem.with_suffix(".jsonl"), stem.with_suffix(".parquet")
    if not pairs:
        jsonl.unlink(missing_ok=True)
        parquet.unlink(missing_ok=True)
        return []
    stem.parent.mkdir(parents=True, exist_ok=True)
    lines = [_line(pair) for pair in pairs]
    _replace(jsonl, lambda part: part.write_bytes(b"".join(lines)))
    _replace(parquet, lambda part: _write_parquet(part, pairs))
    return lines


def written_minutes(folder: Path, day: datetime) -> list[datetime]:
    """Return the minutes of `day` that have files."""
    return sorted(
        day.replace(
            hour=int(file.parent.name.removeprefix("hour=")),
            minute=int(file.stem.removeprefix("minute=")),
        )
        for file in folder.glob("hour=??/minute=??.jsonl")
    )


def remove_hourly_files(folder: Path) -> bool:
    """Remove the files of a release that wrote one for each hour; tell whether there were some."""
    found = [*folder.glob("hour=??.jsonl"), *folder.glob("hour=??.parquet")]
    for file in found:
        file.unlink()
    return bool(found)


def _replace(file: Path, write: Callable[[Path], object]) -> None:
    part = file.with_name(f".{file.name}.part")
    write(part)
    part.replace(file)


def _line(pair: Mapping[Any, Any]) -> bytes:
    line: dict[str, Any] = {"messages": pair["messages"]}
    if pair["tools"]:
        line["tools"] = pair["tools"]
    return msgspec.json.encode(line) + b"\n"


def _write_parquet(file: Path, pairs: Sequence[Mapping[Any, Any]]) -> None:
    # Imported here: every sensor tick and run imports this module, few write Parquet.
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("reasoning_content", pa.string()),
            ("name", pa.string()),
            ("tool_calls", pa.string()),
            ("tool_call_id", pa.string()),
        ]
    )
    fields: list[pa.Field[Any]] = [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("correlation_id", pa.string(), nullable=False),
        pa.field("occurred_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("messages", pa.list_(message), nullable=False),
        pa.field("tools", pa.string(), nullable=False),
    ]
    schema = pa.schema(fields)
    rows = [
        {
            "event_id": str(pair["event_id"]),
            "correlation_id": pair["correlation_id"],
            "occurred_at": pair["occurred_at"],
            "model": pair["model"],
            "messages": [_flat_message(each, message.names) for each in pair["messages"]],
            "tools": msgspec.json.encode(pair["tools"]).decode(),
        }
        for pair in pairs
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file, compression="zstd")


def _flat_message(message: Mapping[str, Any], names: Sequence[str]) -> dict[str, str | None]:
    """Parquet wants one type per column: what is no string becomes its JSON."""
    return {name: _as_text(message.get(name)) for name in names}


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
