"""What every event log must do: the in-memory twin and the log on a folder, before and after compaction."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import EventKind, Impression, Outcome, Rung
from streamrec.events.event_log import EventSnapshot
from streamrec.events.file_event_log import FileEventLog
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.events.records import QuarantinedEvent, QuarantineReason

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class CompactingEventLog(FileEventLog):
    """Compacts at every read, with segments so small that there is always something to compact."""

    def __init__(self, root):
        super().__init__(root, segment_bytes=1)

    def snapshot(self):
        before = super().snapshot()
        self.compact()
        assert super().snapshot() == before
        return before


@pytest.fixture(params=["memory", "folder", "compacted folder"])
def log(request, tmp_path):
    if request.param == "memory":
        built = MemoryEventLog()
    else:
        built = (FileEventLog if request.param == "folder" else CompactingEventLog)(tmp_path / "events")
    yield built
    built.close()


def impression(number: int, **changes) -> Impression:
    fields = {
        "request_id": f"r{number}",
        "user_id": f"u{number % 7}",
        "served_at": NOON + timedelta(seconds=number),
        "item_ids": ("a", "b"),
        "scores": (2.0, 1.0),
        "propensities": (1.0, 0.5),
        "model_versions": {"ranking": 3},
        "rung": Rung.RANKED,
        "cold_start": False,
        "latency_ms": 12.5,
        "variants": {"colour": "blue"},
    }
    return Impression(**(fields | changes))


def outcome(number: int, **changes) -> Outcome:
    moment = NOON + timedelta(seconds=number)
    fields = {
        "event_id": f"e{number}",
        "user_id": f"u{number % 7}",
        "item_id": "a",
        "kind": EventKind.CLICK,
        "occurred_at": moment,
        "received_at": moment,
        "request_id": f"r{number}",
        "value": None,
    }
    return Outcome(**(fields | changes))


def test_an_empty_log_is_an_empty_snapshot(log):
    assert log.snapshot() == EventSnapshot((), (), ())


def test_what_is_appended_is_read_in_the_order_of_time(log):
    log.append([outcome(2), impression(2)])
    log.append([outcome(1, kind=EventKind.PLAY, value=31.5, request_id=None)], durable=False)
    log.append([impression(1)])
    log.append([])

    snapshot = log.snapshot()

    assert snapshot.impressions == (impression(1), impression(2))
    assert snapshot.outcomes == (
        outcome(1, kind=EventKind.PLAY, value=31.5, request_id=None),
        outcome(2),
    )
    assert snapshot.quarantined == ()


def test_every_event_ten_times_and_out_of_order_is_the_same_state(log):
    records = [impression(number) for number in range(20)] + [outcome(number) for number in range(30)]
    records.append(QuarantinedEvent("x", QuarantineReason.UNKNOWN_ITEM, NOON, "{}"))
    # The same id with other content: which one stays must not depend on who comes first.
    records.append(outcome(3, received_at=NOON + timedelta(hours=1), kind=EventKind.SKIP))
    records.append(outcome(4, kind=EventKind.SKIP))
    once = MemoryEventLog()
    once.append(records)
    shuffled = records * 10
    random.Random(5).shuffle(shuffled)

    for start in range(0, len(shuffled), 37):
        log.append(shuffled[start : start + 37], durable=start % 2 == 0)

    snapshot = log.snapshot()
    assert snapshot == once.snapshot()
    assert len(snapshot.outcomes) == 30
    assert snapshot.outcomes[3].kind is EventKind.CLICK


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


def test_a_bad_record_takes_its_whole_batch_with_it_and_nothing_else(log):
    log.append([outcome(1)])
    with pytest.raises(InvalidInputError):
        log.append([outcome(2), outcome(3, value=float("nan"))])
    with pytest.raises(InvalidInputError):
        log.append([replace(outcome(4), user_id="")])
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
