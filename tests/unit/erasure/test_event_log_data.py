"""A person in the event log: found and removed in whatever form an event lies there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.erasure.event_log import EventLogData
from streamrec.events.compacted_state import load_state
from streamrec.events.compaction import compact
from streamrec.events.file_event_log import FileEventLog
from streamrec.events.reader import FileEventReader
from streamrec.events.records import QuarantinedEvent, QuarantineReason
from streamrec.events.segments import segments_folder
from tests.made_events import NOON, a_label, a_prediction, an_exposure, an_impression, an_outcome

SET_ASIDE = '{"event_id":"e","user_id":"anna","item_id":"nowhere"}'


def records_of(unit: str, first: int = 0):
    return [
        a_prediction(first, unit=unit),
        an_impression(first, unit=unit),
        an_exposure(first, unit=unit),
        an_outcome(first, unit=unit),
        a_label(first, subject=unit),
        QuarantinedEvent(f"q{first}", QuarantineReason.UNKNOWN_ITEM, NOON, "{}", unit=unit),
    ]


@pytest.fixture
def root(tmp_path) -> Path:
    """Anna and Ben, each in Parquet, in a sealed segment, and set aside without a unit of its own."""
    folder = tmp_path / "events"
    for first in (0, 10):
        log = FileEventLog(folder)
        log.append([*records_of("anna", first), *records_of("ben", first), *records_of("an", first)])
        log.append(
            [
                QuarantinedEvent(f"p{first}", QuarantineReason.MALFORMED, NOON, text)
                for text in (SET_ASIDE, SET_ASIDE.replace("anna", "ben"))
            ]
        )
        log.close()
        if not first:
            compact(folder)
    return folder


def test_a_person_is_found_everywhere_removed_and_found_nowhere(root):
    others = [record for record in FileEventReader(root).records() if "anna" not in repr(record)]
    data = EventLogData(root)
    assert sum(trace.records for trace in data.find("anna")) == 14
    assert {trace.place.split("/")[1] for trace in data.find("anna")} == {"segments", "parquet"}

    assert data.remove("anna") == 14

    assert data.find("anna") == []
    assert sorted(map(repr, FileEventReader(root).records())) == sorted(map(repr, others))
    assert data.remove("anna") == 0
    for path in root.rglob("*.parquet"):
        assert path.relative_to(root).as_posix() in {file.path for file in load_state(root).files}


def test_nothing_that_is_not_about_the_person_is_touched(root):
    compact(root)
    before = {file.path for file in load_state(root).files}
    assert EventLogData(root).remove("nobody") == 0
    assert {file.path for file in load_state(root).files} == before


def test_a_writer_that_does_not_let_go_is_waited_for_and_found(root):
    log = FileEventLog(root)
    log.append([an_impression(50, unit="anna")])
    waited = []
    data = EventLogData(root, writers_timeout_s=1.0, sleep=waited.append)
    data.remove("anna")
    assert sum(waited) == pytest.approx(1.0)
    assert [trace.records for trace in data.find("anna")] == [1]

    def let_go(_seconds):
        log.rotate()

    assert EventLogData(root, sleep=let_go).remove("anna") == 1
    assert data.find("anna") == []
    log.close()


def test_a_damaged_line_that_still_names_the_person_goes_too(root):
    log = FileEventLog(root)
    log.append([an_outcome(60, unit="anna")])
    log.close()
    (segment,) = [path for path in segments_folder(root).iterdir() if b'"e60"' in path.read_bytes()]
    segment.write_bytes(segment.read_bytes().replace(b'"unit":"anna"', b'"un*t":"anna"'))
    data = EventLogData(root)
    data.remove("anna")
    assert data.find("anna") == []
    assert not [kept for kept in FileEventReader(root).snapshot().quarantined if "anna" in kept.payload]


def test_a_log_of_version_1_is_searched_and_cleared(tmp_path):
    source = Path(__file__).parents[2] / "data" / "event_log_v1" / "log"
    root = Path(shutil.copytree(source, tmp_path / "log"))
    unit = FileEventReader(root).snapshot().impressions[0].unit
    data = EventLogData(root)
    found = sum(trace.records for trace in data.find(unit))
    assert found >= 2
    assert data.remove(unit) == found
    assert data.find(unit) == []
    assert unit not in {kept.unit for kept in FileEventReader(root).snapshot().impressions}


def test_a_log_that_is_not_there_holds_nobody(tmp_path):
    data = EventLogData(tmp_path / "none")
    assert (data.remove("anna"), data.find("anna")) == (0, [])
    assert not (tmp_path / "none").exists()


def test_a_part_that_is_damaged_is_an_error_and_not_nothing(root):
    file = load_state(root).files[0]
    path = root / file.path
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match="damaged"):
        EventLogData(root).find("anna")
