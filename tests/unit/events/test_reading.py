"""A read costs what lies in its range: files of other days and kinds stay closed, other columns undecoded."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.events import reader as reader_module
from streamrec.events.arrow_tables import SCHEMAS, to_table
from streamrec.events.compacted_state import load_state
from streamrec.events.compaction import compact
from streamrec.events.file_event_log import FileEventLog
from streamrec.events.parquet import parts as parquet_parts
from streamrec.events.reader import FileEventReader
from streamrec.events.records import RecordKind
from streamrec.events.time_range import TimeRange
from tests.made_events import NOON, a_label, an_impression, an_outcome

DAYS = 12
FIRST = NOON.date()
LATER = NOON + timedelta(days=400)


def at(day: int, number: int = 0) -> datetime:
    return NOON + timedelta(days=day, seconds=number)


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> Path:
    """A log with twelve days of impressions and outcomes, all compacted, one file for each."""
    root = tmp_path_factory.mktemp("days")
    log = FileEventLog(root)
    for day in range(DAYS):
        for number in range(3):
            name = f"{day}-{number}"
            log.append(
                [
                    an_impression(request_id=name, predicted_at=at(day, number)),
                    an_outcome(event_id=name, occurred_at=at(day, number), received_at=at(day, number)),
                ],
                durable=False,
            )
    log.close()
    compact(root)
    return root


@pytest.fixture
def opened(monkeypatch):
    names: list[str] = []
    really = parquet_parts.PartReader.open

    def counted(self, file):
        names.append(file.path)
        return really(self, file)

    monkeypatch.setattr(parquet_parts.PartReader, "open", counted)
    return names


def test_reading_a_day_of_a_log_opens_the_files_of_that_day_alone(days, opened):
    reader = FileEventReader(days)
    window = TimeRange.of_day(FIRST + timedelta(days=8))

    shown = reader.table(RecordKind.IMPRESSION, ["request_id"], window)

    assert shown.column_names == ["request_id"]
    assert sorted(shown["request_id"].to_pylist()) == ["8-0", "8-1", "8-2"]
    assert len(opened) == 1
    opened.clear()
    assert [kept.request_id for kept in reader.snapshot(window, [RecordKind.IMPRESSION]).impressions] == [
        "8-0",
        "8-1",
        "8-2",
    ]
    assert {name.split("date=")[1][:10] for name in opened} <= {"2026-03-08", "2026-03-09"}


def test_outcomes_of_a_day_cost_that_day_and_the_one_before(days, opened):
    table = FileEventReader(days).table(
        RecordKind.OUTCOME, ["event_id"], TimeRange.of_day(FIRST + timedelta(days=9))
    )
    assert sorted(table["event_id"].to_pylist()) == ["9-0", "9-1", "9-2"]
    assert sorted(name.split("date=")[1][:10] for name in opened) == ["2026-03-09", "2026-03-10"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (at(3, 1), at(3, 2), ["3-1"]),
        (at(3, 1), at(3, 1), []),
        (at(11, 1), None, ["11-1", "11-2"]),
        (None, at(0, 1), ["0-0"]),
        (at(3, 2), at(4, 1), ["3-2", "4-0"]),
    ],
)
def test_a_range_holds_its_start_and_not_its_end(days, start, end, expected):
    reader, window = FileEventReader(days), TimeRange(start, end)
    for kind, name in ((RecordKind.IMPRESSION, "request_id"), (RecordKind.OUTCOME, "event_id")):
        assert sorted(reader.table(kind, [name], window)[name].to_pylist()) == expected
    snapshot = reader.snapshot(window)
    assert [kept.request_id for kept in snapshot.impressions] == expected
    assert [kept.event_id for kept in snapshot.outcomes] == expected


def test_columns_that_nobody_asked_for_are_not_read(days, monkeypatch):
    asked: list[list[str]] = []
    really = pq.ParquetFile.read

    def noted(self, columns=None, **rest):
        asked.append(columns)
        return really(self, columns, **rest)

    monkeypatch.setattr(pq.ParquetFile, "read", noted)
    table = FileEventReader(days).table(
        RecordKind.IMPRESSION, ["item_ids"], TimeRange.of_day(FIRST + timedelta(days=2))
    )
    assert table.num_rows == 3
    assert asked == [["schema", "unit", "request_id", "slot", "predicted_at", "item_ids"]]


def test_an_unknown_column_is_refused_by_name(days):
    with pytest.raises(InvalidInputError, match="user_id"):
        FileEventReader(days).table(RecordKind.IMPRESSION, ["user_id"])


def test_a_table_says_what_a_snapshot_says(tmp_path):
    log = FileEventLog(tmp_path)
    records = [make(number) for number in range(40) for make in (an_impression, an_outcome, a_label)]
    corrected = an_outcome(3, kind="skip", received_at=NOON)
    impossible = [
        an_outcome(50, occurred_at=NOON + timedelta(days=9)),
        a_label(51, at=NOON - timedelta(days=99_999 // 9)),
    ]
    log.append([*records, *records, corrected, *impossible])
    log.close()
    compact(tmp_path)
    log = FileEventLog(tmp_path)
    log.append([*records[:9], an_impression(5, versions={})])

    snapshot = log.snapshot()
    for kind, kept in (
        (RecordKind.IMPRESSION, snapshot.impressions),
        (RecordKind.OUTCOME, snapshot.outcomes),
        (RecordKind.LABEL, snapshot.labels),
        (RecordKind.QUARANTINED, snapshot.quarantined),
    ):
        expected = to_table(kind, kept)
        found = log.table(kind)
        assert found.schema == SCHEMAS[kind]
        assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, expected.to_pylist()))
    log.close()


def test_an_event_sent_again_within_a_day_stays_where_it_came_first(tmp_path):
    log = FileEventLog(tmp_path)
    first = an_outcome(received_at=at(3))
    log.append([first, an_outcome(received_at=at(3) + timedelta(hours=13))])
    log.close()
    for _ in range(2):
        reader = FileEventReader(tmp_path)
        for day, expected in ((3, ["e1"]), (4, [])):
            window = TimeRange.of_day(FIRST + timedelta(days=day))
            assert reader.table(RecordKind.OUTCOME, ["event_id"], window)["event_id"].to_pylist() == expected
            assert [kept.event_id for kept in reader.snapshot(window).outcomes] == expected
        compact(tmp_path)


def test_a_part_from_before_a_column_was_there_is_read_without_it(tmp_path):
    log = FileEventLog(tmp_path)
    log.append([an_impression()])
    log.close()
    compact(tmp_path)
    (file,) = load_state(tmp_path).files
    old = pq.ParquetFile(tmp_path / file.path).read().drop_columns(["client_request_id"])
    rewritten(tmp_path, file, old)

    reader = FileEventReader(tmp_path)

    assert reader.snapshot().impressions == (an_impression(),)
    assert reader.table(RecordKind.IMPRESSION, ["client_request_id"])["client_request_id"].null_count == 1


def rewritten(root, file, table):
    import hashlib
    import json

    pq.write_table(table, root / file.path)
    state = json.loads((root / "compacted.json").read_text())
    state["files"][0]["sha256"] = hashlib.sha256((root / file.path).read_bytes()).hexdigest()
    (root / "compacted.json").write_text(json.dumps(state))


def test_a_part_that_is_merged_during_a_read_is_read_where_it_went(tmp_path, monkeypatch):
    log = FileEventLog(tmp_path, segment_bytes=1)
    for number in range(3):
        log.append([an_impression(number)])
        log.rotate_if_due()
        compact(tmp_path, now=NOON)
    really, merged = parquet_parts.PartReader.open, []

    def merged_first(self, file):
        monkeypatch.setattr(parquet_parts.PartReader, "open", really)
        merged.append(compact(tmp_path, now=LATER).merged_parts)
        return really(self, file)

    monkeypatch.setattr(parquet_parts.PartReader, "open", merged_first)
    assert FileEventReader(tmp_path).table(RecordKind.IMPRESSION, ["request_id"]).num_rows == 3
    assert merged == [3]
    log.close()


def test_a_part_that_is_missing_and_named_is_an_error(tmp_path):
    log = FileEventLog(tmp_path)
    log.append([an_impression()])
    log.close()
    compact(tmp_path)
    (file,) = load_state(tmp_path).files
    (tmp_path / file.path).unlink()
    with pytest.raises(ArtifactError, match="missing"):
        FileEventReader(tmp_path).table(RecordKind.IMPRESSION)


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [(NOON, NOON - timedelta(seconds=1), "end"), (datetime(2026, 1, 1), None, "start")],  # noqa: DTZ001
)
def test_a_range_that_is_none_is_refused(start, end, field):
    with pytest.raises(InvalidInputError) as raised:
        TimeRange(start, end)
    assert raised.value.field == field


def test_a_range_touches_the_days_that_it_has_moments_of():
    window = TimeRange(datetime(2026, 3, 1, 23, 59, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
    touched = [day for day in range(1, 6) if window.touches(date(2026, 3, day))]
    assert touched == [1, 2]


def test_a_reader_that_remembers_segments_parses_them_again_only_when_something_was_written(
    tmp_path, monkeypatch
):
    parsed = []
    really = reader_module.SegmentRecords
    monkeypatch.setattr(reader_module, "SegmentRecords", lambda *a, **k: parsed.append(a) or really(*a, **k))
    log = FileEventLog(tmp_path)
    log.append([an_impression(1)])
    reader = FileEventReader(tmp_path, remembers_segments=True)
    for _ in range(3):
        assert reader.table(RecordKind.IMPRESSION).num_rows == 1
    assert len(parsed) == 1
    log.append([an_impression(2)])
    assert reader.table(RecordKind.IMPRESSION).num_rows == 2
    log.rotate()
    log.append([an_impression(3)])
    assert len(reader.snapshot().impressions) == 3
    log.rotate()
    compact(tmp_path)
    assert reader.table(RecordKind.IMPRESSION).num_rows == 3
    log.close()
