"""The spool's directories: restarts, damage, bounds, full disks, and who may use which."""

import errno
import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.settings import SpoolSettings
from contracts.subjects import PipelineSubject
from gateway.outgoing_event import OutgoingEvent
from gateway.spool.records import StoredEvent
from gateway.spool.segment import Place
from gateway.spool.spool import Spool

SUBJECT = PipelineSubject.TOOL_CALL


def open_spool(root: Path, **settings: object) -> Spool:
    spool = Spool(root, SpoolSettings.model_validate(settings))
    spool.open()
    return spool


def event(number: int, *, size: int = 0) -> OutgoingEvent:
    return OutgoingEvent(number, SUBJECT, b"headers", str(number).encode().ljust(size))


def append(spool: Spool, *numbers: int, hand_over: bool = False, size: int = 0) -> list[Place]:
    events = [event(number, size=size) for number in numbers]
    assert spool.append(events, hand_over=hand_over)
    return [each.place for each in events if each.place is not None]


async def read_everything(spool: Spool) -> list[tuple[Place, StoredEvent]]:
    found = []
    while spool.has_unread:
        found += await spool.read()
    return found


async def read_numbers(spool: Spool) -> list[int]:
    return [int(stored.body) for _place, stored in await read_everything(spool)]


def segments(root: Path) -> list[Path]:
    return sorted(root.rglob("*.segment"))


async def test_what_was_not_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    places = append(spool, 0, 1, 2, 3, hand_over=True)
    append(spool, 4)
    for place in (places[0], places[1], places[3]):
        spool.settle(place)
    spool.close()

    spool = open_spool(tmp_path)
    assert spool.unread_events == 3
    # 3 was acknowledged after 2 was not: it is shipped again, and recognised by its event ID.
    assert await read_numbers(spool) == [2, 3, 4]
    assert spool.unread_events == 0
    spool.close()


async def test_a_segment_is_removed_once_all_of_it_is_acknowledged(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=4096)
    for number in range(40):
        append(spool, number, size=1000)
    assert len(segments(tmp_path)) == 10
    assert spool.stored_bytes == sum(file.stat().st_size for file in segments(tmp_path))
    places = [place for place, _stored in await read_everything(spool)]
    assert len(segments(tmp_path)) == 10
    for place in reversed(places[1:]):
        spool.settle(place)
    assert len(segments(tmp_path)) == 2
    spool.settle(places[0])
    # The newest one is being written; an idle worker removes it too.
    assert len(segments(tmp_path)) == 1
    await spool.tend()
    await spool.tend()
    assert segments(tmp_path) == []
    assert spool.stored_bytes == 0
    spool.close()


def test_the_files_are_private(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    append(spool, 1)
    spool.close()
    for path in (tmp_path / "spool").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


async def test_a_torn_tail_is_cut_off_and_counted(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    append(spool, 0, 1)
    [file] = segments(tmp_path)
    whole = file.stat().st_size
    append(spool, 2)
    spool.close()
    data = file.read_bytes()
    for length in range(whole + 1, len(data)):
        file.write_bytes(data[:length])
        spool = open_spool(tmp_path)
        assert spool.counters.torn == 1
        assert file.stat().st_size == whole
        assert await read_numbers(spool) == [0, 1]
        spool.close()
    assert file.exists()


async def test_a_damaged_record_is_skipped_counted_and_kept(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=4096)
    places = [append(spool, number, size=1500)[0] for number in range(7)]
    spool.close()
    damaged = places[1].segment.path
    data = bytearray(damaged.read_bytes())
    data[places[1].start + 100] ^= 1
    damaged.write_bytes(data)

    spool = open_spool(tmp_path)
    assert await read_numbers(spool) == [0, 2, 3, 4, 5, 6]
    assert (spool.counters.corrupt, spool.counters.torn) == (1, 0)
    [kept] = tmp_path.rglob("*.corrupt")
    assert kept.read_bytes() == data[places[1].start : places[2].start]
    spool.close()


async def test_a_file_that_is_damaged_to_its_end_does_not_hold_the_next(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=4096)
    for number in range(6):
        append(spool, number, size=1500)
    spool.close()
    first, _second = segments(tmp_path)
    first.write_bytes(os.urandom(first.stat().st_size))

    spool = open_spool(tmp_path)
    found = await read_everything(spool)
    assert [int(stored.body) for _place, stored in found] == [3, 4, 5]
    assert spool.counters.corrupt == 1
    for place, _stored in found:
        spool.settle(place)
    assert segments(tmp_path) == []
    spool.close()


async def test_a_file_that_vanished_does_not_hold_the_next(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, segment_bytes=4096)
    for number in range(6):
        append(spool, number, size=1500)
    segments(tmp_path)[0].unlink()
    assert await read_numbers(spool) == [3, 4, 5]
    assert spool.counters.corrupt == 1
    spool.close()


async def test_damaged_progress_means_that_all_is_shipped_again(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    places = append(spool, 0, 1, 2, hand_over=True)
    spool.settle(places[0])
    spool.close()
    [progress] = tmp_path.rglob("progress")
    progress.write_bytes(progress.read_bytes()[:-1] + b"?")
    spool = open_spool(tmp_path)
    assert await read_numbers(spool) == [0, 1, 2]
    spool.close()


async def test_events_larger_than_one_read_and_many_at_once(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    append(spool, 0, size=3_000_000)
    append(spool, *range(1, 2000))
    append(spool, 2000, size=3_000_000)
    assert await read_numbers(spool) == list(range(2001))
    spool.close()


def test_each_worker_has_a_directory_of_its_own(tmp_path: Path) -> None:
    first, second = open_spool(tmp_path), open_spool(tmp_path)
    append(first, 1)
    append(second, 2)
    assert {file.parent.name for file in segments(tmp_path)} == {"worker-0", "worker-1"}
    first.close()
    third = open_spool(tmp_path)
    assert third.unread_events == 1
    second.close()
    third.close()


async def test_a_directory_without_a_worker_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.spool.spool._ADOPTION_SECONDS", 0)
    living, gone = open_spool(tmp_path), open_spool(tmp_path)
    append(gone, 1, 2, 3)
    await living.tend()
    assert not living.has_unread
    gone.close()
    await living.tend()
    append(living, 0)
    found = await read_everything(living)
    assert [int(stored.body) for _place, stored in found] == [0, 1, 2, 3]
    for place, _stored in found:
        living.settle(place)
    await living.tend()
    assert living.counters.adopted == 1
    # Given back: the next worker may have it.
    again = open_spool(tmp_path)
    assert (tmp_path / "worker-1") in {each.path for each in again._directories()}
    living.close()
    again.close()


def test_the_size_is_bounded_and_there_is_room_again_once_it_is_shipped(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, max_bytes=65536, segment_bytes=4096)
    places = []
    while spool.append([each := event(1, size=2000)], hand_over=True):
        assert each.place is not None
        places.append(each.place)
    assert 65536 <= spool.stored_bytes < 65536 + 2100
    assert spool.failure == "full"
    assert spool.counters.write_failures == {"full": 1}
    for place in places:
        spool.settle(place)
    spool._may_write_after = 0.0
    append(spool, 2)
    assert spool.failure is None
    spool.close()


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[], None]]:
    """Let files below `folder` grow to 64 KiB in all; yield what gives them room again."""
    if os.geteuid() == 0 and shutil.which("mount"):
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False
        )
        if mounted.returncode == 0:
            try:
                yield lambda: _run("mount", "-o", "remount,size=1m", folder)
            finally:
                _run("umount", folder)
            return
    # No file may grow beyond it: EFBIG instead of ENOSPC, in the same places.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


async def test_a_full_disk_is_a_state_that_passes(tmp_path: Path) -> None:
    with small_disk(tmp_path) as give_room:
        spool = open_spool(tmp_path)
        written = 0
        while spool.append([event(written, size=3000)], hand_over=False):
            written += 1
            assert written < 100
        assert written > 5
        assert spool.failure in ("ENOSPC", "EFBIG")
        assert spool.counters.write_failures.total() == 1
        # Not tried again at once, lest a full disk cost every request a system call.
        assert not spool.append([event(0)], hand_over=False)
        assert spool.counters.write_failures.total() == 1
        # Nothing of the refused record is in the file.
        [file] = segments(tmp_path)
        assert file.stat().st_size == spool.stored_bytes

        give_room()
        spool._may_write_after = 0.0
        append(spool, written)
        assert spool.failure is None
        assert await read_numbers(spool) == list(range(written + 1))
        assert (spool.counters.torn, spool.counters.corrupt) == (0, 0)
        spool.close()


async def test_a_disk_that_was_full_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.mkdir", refuse)
        spool = open_spool(tmp_path / "spool")
        assert spool.failure == "ENOSPC"
        assert not spool.append([event(0)], hand_over=False)
    await spool.tend()
    assert spool.failure is None
    append(spool, 0)
    spool.close()


@pytest.mark.parametrize("fsync", ["interval", "always"])
async def test_files_are_synced_where_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: str
) -> None:
    synced: list[str] = []
    real_sync = os.fdatasync

    def sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_sync(descriptor)

    monkeypatch.setattr("os.fdatasync", sync)
    spool = open_spool(tmp_path, fsync=fsync, segment_bytes=4096)
    append(spool, 1, size=5000)
    append(spool, 2)
    names = [file.name for file in segments(tmp_path)]
    assert synced == (names if fsync == "always" else [])
    await spool.tend()
    assert synced == names
    await spool.tend()
    assert synced == names
    spool.close()


async def test_a_failed_sync_is_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    spool = open_spool(tmp_path, fsync="always")
    append(spool, 1)
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", fail)
        assert not spool.append([event(2)], hand_over=False)
    assert spool.failure == "EIO"
    spool._may_write_after = 0.0
    append(spool, 3)
    assert await read_numbers(spool) == [1, 3]
    spool.close()
