"""What an acknowledgement rests on: what is synced when, and what happens when the disk fails."""

from __future__ import annotations

import errno
import os
import threading
import time
from datetime import UTC, datetime

import pytest

from streamrec.contracts.errors import DependencyError
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events import write_ahead_log
from streamrec.events.reader import FileEventReader
from streamrec.events.segments import seal_abandoned
from streamrec.events.write_ahead_log import WriteAheadLog
from streamrec.files import durable_files

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def outcome(number: int) -> Outcome:
    return Outcome(f"e{number}", "u", "i", InteractionKind.CLICK, NOON, NOON)


def read_ids(root):
    return sorted(record.event_id for record in FileEventReader(root).snapshot().outcomes)


class Disk:
    """Counts fsyncs of files, and can be told to fail or to be slow."""

    def __init__(self, monkeypatch):
        self.syncs = 0
        self.failing = False
        self.delay_s = 0.0
        monkeypatch.setattr(durable_files, "fsync_file", self.fsync_file)

    def fsync_file(self, descriptor):
        self.syncs += 1
        if self.failing:
            raise OSError(errno.EIO, "the disk is on fire")
        time.sleep(self.delay_s)
        os.fsync(descriptor)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
def log(tmp_path):
    built = WriteAheadLog(tmp_path)
    yield built
    built.close()


def segments(root, suffix):
    return sorted((root / "segments").glob(f"*.{suffix}"))


def test_a_durable_append_syncs_and_another_does_not(log, disk, tmp_path):
    log.append([outcome(1)], durable=False)
    assert disk.syncs == 0
    assert read_ids(tmp_path) == ["e1"]

    log.append([outcome(2)])
    assert disk.syncs == 1

    log.append([], durable=True)
    assert disk.syncs == 1


def test_the_folder_is_synced_when_a_segment_is_created(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(durable_files, "fsync_folder", synced.append)

    WriteAheadLog(tmp_path / "log").append([outcome(1)])

    # The segment's own entry, and that of every folder made for it.
    assert {tmp_path, tmp_path / "log", tmp_path / "log" / "segments"} <= set(synced)


def test_waiting_threads_share_an_fsync(log, disk):
    log.append([outcome(0)])
    disk.syncs = 0
    disk.delay_s = 0.05
    threads = [threading.Thread(target=log.append, args=([outcome(number)],)) for number in range(1, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 <= disk.syncs <= 6


def test_no_append_is_acknowledged_before_an_fsync_that_began_after_its_write(log, disk, monkeypatch):
    """A follower may not take the leader's fsync for its own if its write came after that fsync began."""
    began = threading.Event()
    proceed = threading.Event()

    def slow(descriptor):
        began.set()
        assert proceed.wait(5)
        os.fsync(descriptor)

    log.append([outcome(0)])
    monkeypatch.setattr(durable_files, "fsync_file", slow)
    leader = threading.Thread(target=log.append, args=([outcome(1)],))
    leader.start()
    assert began.wait(5)
    log.append([outcome(2)], durable=False)
    monkeypatch.setattr(durable_files, "fsync_file", disk.fsync_file)
    disk.syncs = 0
    follower = threading.Thread(target=log.append, args=([outcome(3)],))
    follower.start()
    proceed.set()
    leader.join(5)
    follower.join(5)

    assert disk.syncs == 1


def test_after_a_failed_fsync_nothing_is_acknowledged_and_a_new_segment_begins(log, disk, tmp_path):
    log.append([outcome(1)])
    disk.failing = True
    with pytest.raises(DependencyError, match="on fire"):
        log.append([outcome(2)])
    disk.failing = False

    log.append([outcome(3)])

    assert len(segments(tmp_path, "open")) == 2
    assert {"e1", "e3"} <= set(read_ids(tmp_path))


def test_a_full_disk_leaves_no_half_record(log, tmp_path, monkeypatch):
    log.append([outcome(1)])
    real_write = os.write

    def write_some(descriptor, content):
        if len(content) > 10:
            return real_write(descriptor, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write_ahead_log.os, "write", write_some)
    with pytest.raises(DependencyError, match="No space left"):
        log.append([outcome(2)])
    monkeypatch.undo()
    assert read_ids(tmp_path) == ["e1"]

    log.append([outcome(3)])
    assert read_ids(tmp_path) == ["e1", "e3"]
    assert FileEventReader(tmp_path).snapshot().quarantined == ()


def test_short_writes_are_continued(log, tmp_path, monkeypatch):
    real_write = os.write
    monkeypatch.setattr(write_ahead_log.os, "write", lambda fd, content: real_write(fd, content[:7]))
    log.append([outcome(1), outcome(2)])
    monkeypatch.undo()
    assert read_ids(tmp_path) == ["e1", "e2"]


def test_a_folder_that_cannot_be_made_is_a_dependency_error(tmp_path):
    (tmp_path / "segments").write_text("a file where a folder must be")
    with pytest.raises(DependencyError):
        WriteAheadLog(tmp_path).append([outcome(1)])


def test_segments_are_sealed_by_size_and_by_age(tmp_path):
    now = [0.0]
    log = WriteAheadLog(tmp_path, segment_bytes=1, segment_age_s=60.0, clock=lambda: now[0])
    log.append([outcome(1)])
    log.append([outcome(2)])
    assert (len(segments(tmp_path, "sealed")), len(segments(tmp_path, "open"))) == (1, 1)
    log.close()
    assert (len(segments(tmp_path, "sealed")), len(segments(tmp_path, "open"))) == (2, 0)

    log = WriteAheadLog(tmp_path, segment_age_s=60.0, clock=lambda: now[0])
    log.append([outcome(3)])
    log.rotate_if_due()
    assert len(segments(tmp_path, "open")) == 1
    now[0] = 61.0
    log.rotate_if_due()
    assert (len(segments(tmp_path, "sealed")), len(segments(tmp_path, "open"))) == (3, 0)
    assert read_ids(tmp_path) == ["e1", "e2", "e3"]


def test_a_closed_log_refuses(log):
    log.close()
    with pytest.raises(DependencyError, match="closed"):
        log.append([outcome(1)])


def test_the_segment_of_a_living_writer_is_not_taken_away(log, tmp_path):
    log.append([outcome(1)])
    assert seal_abandoned(tmp_path) == []
    log.append([outcome(2)])
    assert read_ids(tmp_path) == ["e1", "e2"]


def test_writers_do_not_share_segments(tmp_path):
    logs = [WriteAheadLog(tmp_path) for _ in range(3)]
    for number, log in enumerate(logs):
        log.append([outcome(number)])
    assert len(segments(tmp_path, "open")) == 3
    assert read_ids(tmp_path) == ["e0", "e1", "e2"]
    for log in logs:
        log.close()
