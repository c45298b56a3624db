"""The format of a spooled event, and how events are found again in damaged bytes.

A record is, integers little-endian:

    marker  8 bytes  the segment's own, random
    crc     4 bytes  CRC-32 (ISO-HDLC, zlib's) of all that follows
    lengths 10 bytes of the body, the subject and the headers
    subject, headers (a NATS header block), body

The marker is what reading goes on from after a damaged record, as in Avro's object container
files. It is random so that no client can write bytes into its request that look like a record.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

MARKER_BYTES = 8

_CRC = struct.Struct("<I")
_LENGTHS = struct.Struct("<IHI")
_CHECKED_OFFSET = MARKER_BYTES + _CRC.size
_HEAD_BYTES = _CHECKED_OFFSET + _LENGTHS.size


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it was read back. Offsets count from the start of the segment, in bytes."""

    start: int
    end: int
    subject: str
    headers: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class DamagedBytes:
    """Bytes that are no record. Offsets count from the start of the segment."""

    start: int
    end: int
    is_tail: bool
    """No record follows them."""


def encode_head(marker: bytes, subject: str, headers: bytes, body: bytes) -> bytes:
    """Return the record's bytes up to the body, which follows them."""
    checked = (
        _LENGTHS.pack(len(body), len(subject), len(headers)) + subject.encode("ascii") + headers
    )
    return marker + _CRC.pack(crc32(body, crc32(checked))) + checked


def read_intact(data: bytes, marker: bytes, *, base: int) -> list[StoredEvent]:
    """Return the records at the start of `data`, up to the first that is cut or damaged.

    `base` is where `data` starts in its segment.
    """
    records = []
    offset = 0
    while (record := _read_at(data, offset, marker, base)) is not None:
        records.append(record)
        offset = record.end - base
    return records


def read_all(data: bytes, marker: bytes, *, base: int) -> Iterator[StoredEvent | DamagedBytes]:
    """Yield what `data`, a segment from `base` to its end, consists of: no byte is left out."""
    offset = 0
    while offset < len(data):
        record = _read_at(data, offset, marker, base)
        if record is not None:
            yield record
            offset = record.end - base
            continue
        start = offset
        offset = _find_record(data, offset + 1, marker, base)
        yield DamagedBytes(base + start, base + offset, is_tail=offset == len(data))


def _find_record(data: bytes, offset: int, marker: bytes, base: int) -> int:
    """Return where the next intact record starts, or the length of `data`."""
    while (offset := data.find(marker, offset)) >= 0:
        if _read_at(data, offset, marker, base) is not None:
            return offset
        offset += 1
    return len(data)


def _read_at(data: bytes, offset: int, marker: bytes, base: int) -> StoredEvent | None:
    subject_at = offset + _HEAD_BYTES
    if len(data) < subject_at or not data.startswith(marker, offset):
        return None
    body_length, subject_length, headers_length = _LENGTHS.unpack_from(
        data, offset + _CHECKED_OFFSET
    )
    headers_at = subject_at + subject_length
    body_at = headers_at + headers_length
    end = body_at + body_length
    if len(data) < end:
        return None
    (crc,) = _CRC.unpack_from(data, offset + MARKER_BYTES)
    if crc != crc32(memoryview(data)[offset + _CHECKED_OFFSET : end]):
        return None
    return StoredEvent(
        start=base + offset,
        end=base + end,
        subject=data[subject_at:headers_at].decode("ascii"),
        headers=data[headers_at:body_at],
        body=data[body_at:end],
    )
