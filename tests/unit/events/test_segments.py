"""Damaged segments: a torn tail is cut off, anything else that is wrong is kept and reported."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamrec.contracts.errors import InvalidInputError, OverloadedError
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.compaction import compact
from streamrec.events.reader import FileEventReader
from streamrec.events.records import MAXIMUM_RECORD_BYTES, QuarantinedEvent, QuarantineReason
from streamrec.events.segments import frame, read_segment, seal_abandoned, segments_folder
from streamrec.files.locks import only_holder

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def outcome(number: int) -> Outcome:
    return Outcome(f"e{number}", "u", "i", InteractionKind.CLICK, NOON, NOON)


LINES = [frame(outcome(number)) for number in range(3)]


@pytest.fixture
def segment(tmp_path) -> Path:
    folder = segments_folder(tmp_path)
    folder.mkdir()
    return folder / "dead-writer.000001.open"


def read(path: Path, *, sealed: bool = False):
    with path.open("rb") as file:
        return read_segment(file, sealed=sealed)


def test_a_torn_tail_is_cut_wherever_the_write_stopped(segment, tmp_path):
    for cut in range(1, len(LINES[2])):
        segment.write_bytes(LINES[0] + LINES[1] + LINES[2][:cut])
        content = read(segment)
        assert content.records == (outcome(0), outcome(1))
        assert (content.torn_bytes, content.corrupt_lines) == (cut, 0)

    (sealed,) = seal_abandoned(tmp_path)

    assert sealed.read_bytes() == LINES[0] + LINES[1]


def test_every_flipped_bit_is_noticed_and_costs_only_its_line(segment):
    start, end = len(LINES[0]), len(LINES[0]) + len(LINES[1])
    for position in range(start, end - 1):
        content = bytearray(b"".join(LINES))
        content[position] ^= 1 << (position % 8)
        segment.write_bytes(content)
        found = read(segment)
        assert [record for record in found.records if isinstance(record, Outcome)] == [outcome(0), outcome(2)]
        corrupt = [record for record in found.records if isinstance(record, QuarantinedEvent)]
        assert {record.reason for record in corrupt} == {QuarantineReason.CORRUPT}
        assert found.corrupt_lines == len(corrupt) >= 1


def test_a_lost_newline_is_noticed(segment):
    segment.write_bytes(LINES[0][:-1] + LINES[1] + LINES[2])
    found = read(segment)
    assert found.corrupt_lines == 1
    assert found.records[1:] == (outcome(2),)


def test_a_truncated_sealed_segment_is_damage_not_a_torn_tail(segment):
    segment.write_bytes(LINES[0] + LINES[1][:-5])
    found = read(segment, sealed=True)
    assert (found.torn_bytes, found.corrupt_lines) == (0, 1)


def test_a_line_without_end_does_not_fill_the_memory(segment):
    segment.write_bytes(b"x" * (2 * MAXIMUM_RECORD_BYTES) + b"\n" + LINES[0])
    found = read(segment)
    assert found.corrupt_lines >= 1
    assert found.records[-1] == outcome(0)
    assert all(len(record.payload) <= 64 * 1024 for record in found.records[:-1])


def test_a_genuine_checksum_over_something_else_is_corrupt(segment):
    segment.write_bytes(b"%08x %s\n" % (zlib.crc32(b"{}"), b"{}"))
    assert read(segment).corrupt_lines == 1


def test_a_record_that_is_too_large_is_refused():
    with pytest.raises(InvalidInputError, match="bytes"):
        frame(Outcome("e" * (MAXIMUM_RECORD_BYTES + 1), "u", "i", InteractionKind.CLICK, NOON, NOON))


def test_parquet_files_that_no_state_names_are_not_read_and_are_removed(segment, tmp_path):
    segment.write_bytes(LINES[0])
    compact(tmp_path)
    (parquet,) = (tmp_path / "parquet").glob("*/*/*")
    leftover = parquet.with_name("part-0000000009.parquet")
    leftover.write_bytes(parquet.read_bytes())

    assert [record.event_id for record in FileEventReader(tmp_path).records()] == ["e0"]
    compact(tmp_path)

    assert list((tmp_path / "parquet").glob("*/*/*")) == [parquet]


def test_a_second_compaction_at_the_same_time_is_refused(segment, tmp_path):
    segment.write_bytes(LINES[0])
    with (
        only_holder(tmp_path / "compaction.lock", "held by the test"),
        pytest.raises(OverloadedError, match="another compaction"),
    ):
        compact(tmp_path)
    assert compact(tmp_path).records == 1


def test_corrupt_lines_are_kept_through_compaction(segment, tmp_path):
    damaged = bytearray(b"".join(LINES))
    damaged[len(LINES[0]) + 20] ^= 1
    segment.write_bytes(damaged)
    before = FileEventReader(tmp_path).snapshot()

    report = compact(tmp_path)

    assert (report.segments, report.records, report.corrupt_lines) == (1, 3, 1)
    assert report.recovered_segments == 1
    after = FileEventReader(tmp_path).snapshot()
    assert after.outcomes == before.outcomes == (outcome(0), outcome(2))
    assert [kept.payload for kept in after.quarantined] == [kept.payload for kept in before.quarantined]
    assert len(after.quarantined) == 1
