"""What every event log must do: the in-memory twin and the log on a folder, before and after compaction."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import InteractionKind
from streamrec.contracts.slots import ServingRole
from streamrec.events.event_log import EventSnapshot
from streamrec.events.file_event_log import FileEventLog
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.events.records import QuarantinedEvent, QuarantineReason, RecordKind
from streamrec.events.time_range import ALL_TIME, TimeRange, UnitRange
from tests.made_events import NOON, a_label, a_prediction, an_exposure
from tests.made_events import an_impression as impression
from tests.made_events import an_outcome as outcome


class CompactingEventLog(FileEventLog):
    """Compacts at every read, with segments so small that there is always something to compact."""

    def __init__(self, root):
        super().__init__(root, segment_bytes=1)

    def snapshot(self, *arguments):
        before = super().snapshot(*arguments)
        self.compact()
        assert super().snapshot(*arguments) == before
        return before

    def table(self, *arguments):
        self.compact()
        return super().table(*arguments)


@pytest.fixture(params=["memory", "folder", "compacted folder"])
def log(request, tmp_path):
    if request.param == "memory":
        built = MemoryEventLog()
    else:
        built = (FileEventLog if request.param == "folder" else CompactingEventLog)(tmp_path / "events")
    yield built
    built.close()


def test_an_empty_log_is_an_empty_snapshot(log):
    assert log.snapshot() == EventSnapshot()


def test_what_is_appended_is_read_in_the_order_of_time(log):
    log.append([outcome(2), impression(2)])
    log.append([outcome(1, kind=InteractionKind.PLAY, value=31.5, request_id=None)], durable=False)
    log.append([impression(1)])
    log.append([])

    snapshot = log.snapshot()

    assert snapshot.impressions == (impression(1), impression(2))
    assert snapshot.outcomes == (
        outcome(1, kind=InteractionKind.PLAY, value=31.5, request_id=None),
        outcome(2),
    )
    assert snapshot.quarantined == ()


def test_every_event_ten_times_and_out_of_order_is_the_same_state(log):
    makers = (a_prediction, impression, an_exposure, outcome, a_label)
    records = [make(number) for number in range(30) for make in makers]
    records.append(QuarantinedEvent("x", QuarantineReason.UNKNOWN_ITEM, NOON, "{}"))
    # The same id with other content: which one stays must not depend on who comes first.
    records.append(outcome(3, received_at=NOON + timedelta(hours=1), kind=InteractionKind.SKIP))
    records.append(outcome(4, kind=InteractionKind.SKIP))
    records.append(impression(5, versions={}, variants={}))
    records.append(a_prediction(6, output={}))
    once = MemoryEventLog()
    once.append(records)
    shuffled = records * 10
    random.Random(5).shuffle(shuffled)

    for start in range(0, len(shuffled), 37):
        log.append(shuffled[start : start + 37], durable=start % 2 == 0)

    snapshot = log.snapshot()
    assert snapshot == once.snapshot()
    kinds = (
        snapshot.predictions,
        snapshot.impressions,
        snapshot.exposures,
        snapshot.outcomes,
        snapshot.labels,
    )
    assert [len(kept) for kept in kinds] == [30] * 5
    assert snapshot.outcomes[3].kind == InteractionKind.CLICK


@pytest.mark.parametrize(
    ("ahead", "reason"),
    [
        (timedelta(minutes=5), None),
        (timedelta(minutes=5, microseconds=1), QuarantineReason.FUTURE_DATED),
        (timedelta(days=365 * 100), QuarantineReason.FUTURE_DATED),
        (-timedelta(days=400), None),
        (-timedelta(days=365 * 50), QuarantineReason.IMPOSSIBLE_DATE),
    ],
)
def test_impossible_times_are_set_aside_with_their_reason(log, ahead, reason):
    record = outcome(0, occurred_at=NOON + ahead)
    log.append([record])

    snapshot = log.snapshot()

    assert len(snapshot.outcomes) == (reason is None)
    assert [kept.reason for kept in snapshot.quarantined] == ([] if reason is None else [reason])
    if reason is not None:
        assert snapshot.quarantined[0].event_id == "e0"


def test_a_label_with_an_impossible_time_is_set_aside(log):
    log.append([a_label(1), a_label(2, at=NOON + timedelta(days=900))])

    snapshot = log.snapshot()

    assert snapshot.labels == (a_label(1),)
    assert [kept.reason for kept in snapshot.quarantined] == [QuarantineReason.FUTURE_DATED]


def test_what_is_told_apart_by_one_field_of_its_identity_is_kept(log):
    records = [
        a_prediction(1),
        a_prediction(1, role=ServingRole.SHADOW),
        a_prediction(1, slot="ads.auction"),
        impression(1),
        impression(1, slot="ads.auction"),
        an_exposure(1),
        an_exposure(1, variant="red"),
        an_exposure(1, experiment="search-size"),
        a_label(1),
        a_label(1, value=1.0),
        a_label(1, name="spam"),
    ]
    log.append(records)

    snapshot = log.snapshot()

    assert len(snapshot.predictions) == 3
    assert len(snapshot.impressions) == 2
    assert len(snapshot.exposures) == 3
    assert len(snapshot.labels) == 3


def test_ids_belong_to_users(log):
    records = [make(1, unit=unit) for unit in ("u1", "u2") for make in (a_prediction, impression, outcome)]
    records += [
        QuarantinedEvent("e9", QuarantineReason.UNKNOWN_ITEM, NOON, "{}", unit=unit) for unit in ("u1", "u2")
    ]
    log.append(records + records)

    snapshot = log.snapshot()

    for kept in (snapshot.predictions, snapshot.impressions, snapshot.outcomes, snapshot.quarantined):
        assert [record.unit for record in kept] == ["u1", "u2"]


def test_a_range_of_time_and_columns_are_read_alike(log):
    log.append([make(number) for number in range(4) for make in (a_prediction, impression, outcome)])
    window = TimeRange(NOON + timedelta(seconds=1), NOON + timedelta(seconds=3))

    snapshot = log.snapshot(window, (RecordKind.IMPRESSION,))

    assert [kept.request_id for kept in snapshot.impressions] == ["r1", "r2"]
    assert snapshot.outcomes == snapshot.predictions == ()
    table = log.table(RecordKind.OUTCOME, ["unit", "event_id"], window)
    assert sorted(map(tuple, (row.values() for row in table.to_pylist()))) == [("u1", "e1"), ("u2", "e2")]
    with pytest.raises(InvalidInputError, match="user_id"):
        log.table(RecordKind.OUTCOME, ["user_id"])


def test_a_range_of_units_holds_their_events_whole(log):
    log.append([make(number) for number in range(20) for make in (impression, outcome)] * 2)
    for kind in (RecordKind.IMPRESSION, RecordKind.OUTCOME):
        whole = log.table(kind, ["unit", "request_id"])
        parts = [
            log.table(kind, ["unit", "request_id"], ALL_TIME, UnitRange(first, end))
            for first, end in ((None, "u2"), ("u2", "u5"), ("u5", None))
        ]
        assert [sorted(set(part["unit"].to_pylist())) for part in parts] == [
            ["u0", "u1"],
            ["u2", "u3", "u4"],
            ["u5", "u6"],
        ]
        rows = [tuple(row.values()) for part in parts for row in part.to_pylist()]
        assert sorted(rows) == sorted(tuple(row.values()) for row in whole.to_pylist())
        assert len(rows) == 20
    with pytest.raises(InvalidInputError, match="may have no unit"):
        log.table(RecordKind.QUARANTINED, None, ALL_TIME, UnitRange("u1"))


def test_the_extent_counts_what_was_written_by_kind_and_day(log):
    log.append([impression(1), impression(1), outcome(2), outcome(3, received_at=NOON + timedelta(days=1))])
    before = log.extent()
    log.table(RecordKind.IMPRESSION)  # compacts where that is what the log does
    for extent in (before, log.extent()):
        assert dict(extent.records) == {
            (RecordKind.IMPRESSION, NOON.date()): 2,
            (RecordKind.OUTCOME, NOON.date()): 1,
            (RecordKind.OUTCOME, NOON.date() + timedelta(days=1)): 1,
        }
    log.append([impression(4)])
    assert log.extent().records[RecordKind.IMPRESSION, NOON.date()] == 3


def test_of_two_labels_with_one_identity_the_first_received_stays(log):
    later = a_label(1, received_at=NOON + timedelta(days=3))
    log.append([later, a_label(1)])
    assert log.snapshot().labels == (a_label(1),)


def test_a_bad_record_takes_its_whole_batch_with_it_and_nothing_else(log):
    log.append([outcome(1)])
    with pytest.raises(InvalidInputError):
        log.append([outcome(2), outcome(3, value=float("nan"))])
    with pytest.raises(InvalidInputError):
        log.append([replace(outcome(4), unit="")])
    assert log.snapshot().outcomes == (outcome(1),)


def test_threads_may_append_at_once(log):
    def work(offset):
        for number in range(25):
            log.append([outcome(offset + number)])

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(0, 200, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(log.snapshot().outcomes) == 200
