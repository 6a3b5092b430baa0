"""A finished day is computed once; a file is used only as long as all that its name says is true."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from streamrec.contracts.progress import SilentProgress
from streamrec.erasure.event_log import EventLogData
from streamrec.erasure.folders import FolderData
from streamrec.events.compaction import CompactionSettings, compact
from streamrec.metrics import unit_rows as unit_rows_module
from streamrec.metrics.catalogue import Metric, parse_metrics
from streamrec.metrics.computation import compute
from tests.made_events import an_impression, an_outcome
from tests.unit.metrics.workplace import CATALOGUE, DAYS, END, FIRST, LATER, Workplace, a_source, some_events


@pytest.fixture
def place(tmp_path):
    workplace = Workplace(tmp_path)
    workplace.log.append(some_events(21), durable=False)
    yield workplace
    workplace.log.close()


def test_a_day_is_computed_once_for_a_metric_and_what_it_is_split_by(place):
    first, computed = place.compute()
    assert computed == DAYS
    assert place.compute() == (first, 0)
    assert place.reads == 0
    assert place.compute(end=END - timedelta(hours=5))[1] == 1  # a part of a day is not kept
    assert place.compute(by=("slot",))[1] == DAYS
    assert place.compute(by=("segment",))[1] == 0  # of units: the days are the same
    assert len(place.files()) == 2 * DAYS


def test_what_is_kept_survives_compaction_and_the_merging_of_parts(place):
    first, _ = place.compute()
    place.log.rotate()
    place.log.compact()
    assert place.compute() == (first, 0)


def test_figures_of_a_day_that_is_not_over_follow_the_log(place):
    now = FIRST + timedelta(days=2)
    before, _ = place.compute(now=now)
    assert place.compute(now=now)[1] == 0
    received = FIRST + timedelta(days=1, hours=20)
    late = [
        an_outcome(
            900,
            unit=shown.unit,
            item_id=None,
            request_id=shown.request_id,
            occurred_at=shown.predicted_at,
            received_at=received,
        )
        for number, shown in enumerate(place.log.snapshot().impressions[:20])
    ]
    place.log.append(late)
    after, computed = place.compute(now=now)
    assert computed > 0
    assert after != before


def test_a_late_outcome_changes_the_day_of_its_answer_and_only_that(place):
    place.compute()
    shown = next(
        kept for kept in place.log.snapshot().impressions if kept.predicted_at > FIRST + timedelta(days=1.2)
    )
    moment = shown.predicted_at + timedelta(hours=1)
    place.log.append(
        [
            an_outcome(
                901,
                unit=shown.unit,
                item_id=None,
                request_id=shown.request_id,
                occurred_at=moment,
                received_at=moment + timedelta(hours=3),
            )
        ]
    )
    fresh = place.compute(is_erased=lambda _: False)[0]
    for path in place.files():
        path.unlink()
    assert place.compute()[0] == fresh


@pytest.mark.parametrize("harm", ["flipped byte", "cut off", "empty"])
def test_a_damaged_file_is_computed_anew(place, harm):
    first, _ = place.compute()
    path = place.files()[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"flipped byte": bytes(content), "cut off": bytes(content[:100]), "empty": b""}[harm])
    assert place.compute() == (first, 1)
    assert place.compute() == (first, 0)


def test_another_definition_or_release_of_the_format_is_computed_anew(place):
    place.compute()
    file = parse_metrics(
        b"metrics:\n  click_rate: {owner: a, description: b, unit: c, direction: higher_is_better,"
        b" aggregation: rate, window_hours: 2, of: {event: outcome, kinds: [click]},"
        b" per: {event: impression}}"
    )
    assert place.compute(Metric("click_rate", file.metrics["click_rate"]))[1] == DAYS


def test_an_erased_person_is_found_in_what_is_kept_and_removed_from_it(place):
    before, _ = place.compute()
    place.log.rotate()
    stores = [EventLogData(place.root / "events"), FolderData("kept", place.kept)]
    person = pq.read_table(place.files()[0])["unit"][0].as_py()
    assert all(store.find(person) for store in stores)
    for store in stores:
        store.remove(person)
    assert not any(store.find(person) for store in stores)
    after, computed = place.compute()
    assert computed > 0
    assert after["figures"][0]["units"] == before["figures"][0]["units"] - 1
    assert not FolderData("kept", place.kept).find(person)


def test_whoever_is_erased_while_a_day_is_computed_is_not_kept(place):
    person = place.log.snapshot().impressions[0].unit
    place.compute(is_erased=lambda unit: unit == person)
    assert not FolderData("kept", place.kept).find(person)


def test_what_expired_in_the_log_does_not_live_on(place):
    place.compute()
    place.log.rotate()
    compact(
        place.root / "events", CompactionSettings(timedelta(days=10)), now=FIRST + timedelta(days=12, hours=1)
    )
    place.compute(start=FIRST + timedelta(days=2))
    assert {path.parent.name for path in place.files()} == {"2026-03-03"}


def test_a_disk_that_takes_nothing_costs_the_file_and_not_the_figure(place, caplog, monkeypatch):
    expected, _ = place.compute()
    for path in place.files():
        path.unlink()

    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("streamrec.files.durable_files.write_atomically", full)
    assert place.compute() == (expected, DAYS)
    assert "not kept" in caplog.text
    assert place.files() == []


def test_impressions_of_other_days_keep_their_outcomes(place):
    # A client that calls its requests 1, 2, 3 every day: an outcome counts once, not on every day that fits.
    records = [
        an_impression(
            700 + day,
            unit="w",
            client_request_id="1",
            slot="search.ranking",
            item_ids=("a",),
            predicted_at=FIRST + timedelta(days=day, hours=12),
        )
        for day in range(3)
    ]
    moment = FIRST + timedelta(days=1, hours=11, minutes=59)
    records.append(
        an_outcome(700, unit="w", item_id="a", request_id="1", occurred_at=moment, received_at=moment)
    )
    other = Workplace(place.root / "other")
    other.log.append(records)
    metric = CATALOGUE.metric("clicks_per_item_shown")
    days = [
        compute(
            metric,
            CATALOGUE,
            a_source(other.log),
            start=FIRST + timedelta(days=day),
            end=FIRST + timedelta(days=day + 1),
            now=LATER,
            progress=SilentProgress(),
        )
        .figures[0]
        .statistics.moments.x
        for day in range(3)
    ]
    assert days == [1.0, 0.0, 0.0]
    other.log.close()


def test_many_may_compute_and_keep_the_same_days_at_once(place):
    expected, _ = place.compute()
    shutil.rmtree(place.kept)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(place.compute) for _ in range(4)]
        assert [future.result()[0] for future in found] == [expected] * 4
    assert len(place.files()) == DAYS
    assert place.compute() == (expected, 0)


@pytest.mark.parametrize(
    "name", ["click_rate", "watch_seconds_per_user", "watch_seconds_per_play", "latency_p50_ms"]
)
def test_units_that_are_read_in_ranges_leave_the_same_bytes(place, name, monkeypatch):
    metric = CATALOGUE.metric(name)
    expected, _ = place.compute(metric, by=("version",))
    at_once, reads = place.files(), place.reads
    shutil.rmtree(place.kept)
    monkeypatch.setattr(unit_rows_module, "RECORDS_AT_ONCE", 30)
    assert place.compute(metric, by=("version",))[0] == expected
    assert place.files() == at_once
    assert place.reads > 3 * reads
