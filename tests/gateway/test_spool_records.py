"""The spool's records: what is read of bytes that are cut or damaged anywhere."""

import secrets

from hypothesis import given
from hypothesis import strategies as st

from gateway.spool.records import DamagedBytes, StoredEvent, encode_head, read_all, read_intact

MARKER = secrets.token_bytes(8)


def record(number: int, body: bytes = b"{}") -> bytes:
    return encode_head(MARKER, f"subject.{number}", b"headers", body) + body


def subjects(data: bytes) -> list[str | DamagedBytes]:
    return [
        each.subject if isinstance(each, StoredEvent) else each
        for each in read_all(data, MARKER, base=0)
    ]


def test_what_was_written_is_read() -> None:
    data = record(1, b"first") + record(2, b"") + record(3, b"third")
    first, second, third = read_all(data, MARKER, base=1000)
    assert first == StoredEvent(1000, second.start, "subject.1", b"headers", b"first")
    assert second == StoredEvent(first.end, third.start, "subject.2", b"headers", b"")
    assert third == StoredEvent(second.end, 1000 + len(data), "subject.3", b"headers", b"third")


def test_a_tail_torn_at_any_byte_is_damage_and_the_records_before_it_are_whole() -> None:
    whole = record(1) + record(2)
    last = record(3, b'{"text": "torn"}')
    for length in range(1, len(last)):
        data = whole + last[:length]
        assert subjects(data) == [
            "subject.1",
            "subject.2",
            DamagedBytes(len(whole), len(data), is_tail=True),
        ]
        assert [each.subject for each in read_intact(data, MARKER, base=0)] == [
            "subject.1",
            "subject.2",
        ]


def test_a_byte_that_is_changed_anywhere_costs_one_record() -> None:
    first, second, third = record(1), record(2, b'{"text": "changed"}'), record(3)
    for place in range(len(second)):
        changed = bytearray(second)
        changed[place] ^= 0x40
        assert subjects(first + bytes(changed) + third) == [
            "subject.1",
            DamagedBytes(len(first), len(first) + len(second), is_tail=False),
            "subject.3",
        ]


def test_zeros_that_a_lost_page_leaves_are_damage() -> None:
    first, last = record(1), record(2)
    assert subjects(first + bytes(5000) + last) == [
        "subject.1",
        DamagedBytes(len(first), len(first) + 5000, is_tail=False),
        "subject.2",
    ]
    assert subjects(bytes(10)) == [DamagedBytes(0, 10, is_tail=True)]


def test_a_body_that_holds_another_segments_record_is_a_body() -> None:
    foreign = encode_head(b"8 others", "subject.9", b"", b"") + record(9)
    data = record(1, foreign) + record(2)
    assert subjects(data) == ["subject.1", "subject.2"]


@given(st.binary(max_size=300), st.lists(st.binary(max_size=40), max_size=4))
def test_no_byte_is_left_out(noise: bytes, bodies: list[bytes]) -> None:
    data = noise + b"".join(record(number, body) for number, body in enumerate(bodies))
    end = 0
    for item in read_all(data, MARKER, base=0):
        assert item.start == end < item.end
        end = item.end
    assert end == len(data)
