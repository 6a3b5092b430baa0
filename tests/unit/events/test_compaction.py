"""What a compaction does beside turning segments into Parquet: it merges, expires, stays within bounds."""

from __future__ import annotations

import threading
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from streamrec.contracts.errors import DependencyError, OverloadedError
from streamrec.events import compaction
from streamrec.events.background_compaction import BackgroundCompaction
from streamrec.events.compacted_state import load_state
from streamrec.events.compaction import CompactionReport, CompactionSettings, compact
from streamrec.events.file_event_log import FileEventLog
from streamrec.events.parquet import parts as parquet_parts
from streamrec.events.reader import FileEventReader
from streamrec.events.records import RecordKind
from tests.made_events import NOON, an_impression, an_outcome

DAY = timedelta(days=1)
TEN_DAYS = CompactionSettings(retention=10 * DAY)


@pytest.fixture
def log(tmp_path):
    built = FileEventLog(tmp_path, segment_bytes=1)
    yield built
    built.close()


def parts(root):
    return [(file.kind, file.date, file.rows) for file in load_state(root).files]


def test_the_parts_of_a_day_that_is_over_become_one(log, tmp_path):
    for number in range(4):
        log.append([an_impression(number), an_outcome(number)])
        compact_at(tmp_path, log, NOON)
    before = FileEventReader(tmp_path).snapshot()
    assert len(parts(tmp_path)) == 8

    report = compact_at(tmp_path, log, NOON + DAY)

    assert report.merged_parts == 8
    assert parts(tmp_path) == [
        (RecordKind.IMPRESSION, NOON.date(), 4),
        (RecordKind.OUTCOME, NOON.date(), 4),
    ]
    assert FileEventReader(tmp_path).snapshot() == before
    on_disk = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "parquet").rglob("*.parquet")}
    assert on_disk == {file.path for file in load_state(tmp_path).files}
    assert compact_at(tmp_path, log, NOON + DAY) == CompactionReport()


def test_the_parts_of_today_wait_until_there_are_many(log, tmp_path):
    settings = CompactionSettings(merge_parts=3)
    counts = []
    for number in range(5):
        log.append([an_impression(number)])
        compact_at(tmp_path, log, NOON, settings)
        counts.append(len(parts(tmp_path)))
    assert counts == [1, 2, 1, 2, 1]


def test_merging_is_bounded_by_the_size_of_a_part(log, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_parts, "ROW_GROUP_ROWS", 2)
    for number in range(6):
        log.append([an_impression(number)])
        compact_at(tmp_path, log, NOON)
    size = max(path.stat().st_size for path in (tmp_path / "parquet").rglob("*.parquet"))

    compact_at(tmp_path, log, NOON + DAY, CompactionSettings(part_bytes=int(2.5 * size)))

    assert [rows for _, _, rows in parts(tmp_path)] == [2, 2, 2]
    assert len(FileEventReader(tmp_path).snapshot().impressions) == 6


def test_objects_in_memory_are_bounded_whatever_the_segments_hold(log, tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "_RECORDS_AT_ONCE", 7)
    at_once = []
    really = compaction.to_table

    def noted(kind, records):
        at_once.append(len(records))
        return really(kind, records)

    monkeypatch.setattr(compaction, "to_table", noted)
    log.append([an_impression(number) for number in range(50)])
    compact_at(tmp_path, log, NOON)
    assert max(at_once) <= 7
    assert parts(tmp_path) == [(RecordKind.IMPRESSION, NOON.date(), 50)]


def test_what_is_older_than_the_retention_goes_and_nothing_else(log, tmp_path):
    for day in range(4):
        log.append([an_impression(day, predicted_at=NOON + day * DAY)])
    compact_at(tmp_path, log, NOON + 3 * DAY)
    # Still in a segment: it has expired before it was ever compacted.
    log.append([an_outcome(1, occurred_at=NOON, received_at=NOON), an_outcome(2, received_at=NOON + 9 * DAY)])

    report = compact_at(tmp_path, log, NOON + 12 * DAY, TEN_DAYS)

    assert report.expired_records == 3
    snapshot = FileEventReader(tmp_path).snapshot()
    assert [kept.request_id for kept in snapshot.impressions] == ["r2", "r3"]
    assert [kept.event_id for kept in snapshot.outcomes] == ["e2"]
    assert len(list((tmp_path / "parquet").rglob("*.parquet"))) == 3


def test_without_a_retention_everything_stays(log, tmp_path):
    log.append([an_impression(1)])
    compact_at(tmp_path, log, NOON + 9_999 * DAY)
    assert len(FileEventReader(tmp_path).snapshot().impressions) == 1


def test_parts_of_version_1_are_merged_in_todays_form(tmp_path):
    import shutil
    from pathlib import Path

    root = Path(
        shutil.copytree(Path(__file__).parents[2] / "data" / "event_log_v1" / "log", tmp_path / "log")
    )
    before = FileEventReader(root).snapshot()
    compact(root, now=NOON + 400 * DAY)
    assert FileEventReader(root).snapshot() == before
    files = load_state(root).files
    assert len({(file.kind, file.date) for file in files}) == len(files)
    assert all("schema" in pq.read_schema(root / file.path).names for file in files if file.rows > 1)


def test_erased_persons_do_not_leave_the_segments(log, tmp_path):
    log.append([an_impression(1, unit="gone"), an_impression(2, unit="stays"), an_outcome(1, unit="gone")])
    report = compact_at(tmp_path, log, NOON, CompactionSettings(is_erased=lambda person: person == "gone"))
    assert report.erased_records == 2
    assert [kept.unit for kept in FileEventReader(tmp_path).snapshot().impressions] == ["stays"]


@pytest.mark.parametrize("wrong", [{"merge_parts": 1}, {"part_bytes": 0}, {"retention": timedelta(hours=23)}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"merging|retention"):
        CompactionSettings(**wrong)


def test_it_runs_by_itself_and_goes_on_after_a_failure(tmp_path):
    done = threading.Event()
    failures = [OverloadedError("busy"), DependencyError("the disk is full"), RuntimeError("a defect")]
    turns = []

    def run(root, settings):
        turns.append((root, settings))
        if failures:
            raise failures.pop()
        done.set()
        return CompactionReport()

    with BackgroundCompaction(tmp_path, lambda: TEN_DAYS, interval_s=0.001, run=run):
        assert done.wait(10)
    assert turns[:4] == [(tmp_path, TEN_DAYS)] * 4


def compact_at(root, log, now, settings=None):
    log.rotate_if_due()
    return compact(root, settings or CompactionSettings(), now=now)
