"""Features of items that are materialised anew while requests are answered."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.recommendations.gateway.live_items import ItemFeatureSettings, ItemRefresh, LiveItems
from services.recommendations.gateway.metrics import RecommendationMetrics
from services.recommendations.pipeline.served_items import ServedItems
from streamrec.contracts.errors import DependencyError, NotReadyError
from streamrec.items.memory_item_log import MemoryItemLog
from tests.unit.pipeline.conftest import make_catalogue

LATER = datetime(2024, 6, 1, tzinfo=UTC)


class Refreshed:
    """A catalogue that is refreshed when a test says so."""

    def __init__(self, store):
        self.store, self.now_s, self.log = store, 0.0, MemoryItemLog()
        self.items = LiveItems(ServedItems.from_counts(store.item_counts()), self.log)
        store.item_reads = 0
        settings = ItemFeatureSettings(pause_s=0.0)
        self.refresh = ItemRefresh(store, self.items, settings, clock=lambda: self.now_s)

    def publish(self, count):
        counts = self.store.table.interaction_counts
        self.store.table = replace(
            self.store.table, catalogue=make_catalogue(count), interaction_counts=counts[:count][::-1]
        )
        self.store.published += "-again"
        self.store.made_at = LATER


@pytest.fixture
def refreshed(store):
    return Refreshed(store)


def popular(items):
    return items.current().ladder.answer(language=None, seen=(), count=3).item_ids


def test_what_is_materialised_anew_is_read_with_the_next_look_and_exchanged_whole(refreshed):
    before, held = popular(refreshed.items), refreshed.items.current()
    refreshed.refresh.refresh()
    assert refreshed.store.item_reads == 0
    refreshed.publish(20)
    refreshed.refresh.refresh()
    assert len(refreshed.items.current().known) == 20
    assert popular(refreshed.items) != before
    assert len(held.known) == 30, "a request that holds the catalogue keeps it"
    assert refreshed.refresh.materialized_at == LATER
    refreshed.refresh.refresh()
    assert refreshed.store.item_reads == 1


def test_it_is_read_again_after_a_while_in_any_case(refreshed):
    refreshed.now_s = 899.0
    refreshed.refresh.refresh()
    assert refreshed.store.item_reads == 0
    refreshed.now_s = 900.0
    refreshed.refresh.refresh()
    refreshed.refresh.refresh()
    assert refreshed.store.item_reads == 1


@pytest.mark.parametrize(
    "error", [NotReadyError("no items"), DependencyError("gone"), RuntimeError("defect")]
)
def test_what_cannot_be_read_stays_as_it_was_and_is_tried_again(refreshed, error, caplog):
    refreshed.publish(20)
    refreshed.store.item_error = error
    for _ in range(3):
        refreshed.refresh.refresh()
    assert (len(refreshed.items.current().known), refreshed.store.item_reads) == (30, 3)
    assert caplog.text.count("stay as they were") == 1
    assert refreshed.refresh.materialized_at < LATER
    refreshed.store.item_error = None
    refreshed.refresh.refresh()
    assert len(refreshed.items.current().known) == 20


def test_what_the_item_log_says_holds_for_the_new_catalogue_too(refreshed):
    refreshed.log.append(["item-03"])
    refreshed.items.refresh()
    refreshed.publish(20)
    refreshed.refresh.refresh()
    assert "item-03" not in refreshed.items.current().known
    assert len(refreshed.items.current().known) == 19
    refreshed.log.append(["item-04"])
    refreshed.items.refresh()
    assert "item-04" not in refreshed.items.current().known
    assert refreshed.items.current().revision == 2


def test_how_old_features_are_is_a_metric():
    now = datetime.now(UTC)
    metrics = RecommendationMetrics()
    metrics.watch_features(
        rows=lambda: now - timedelta(seconds=60),
        items=lambda: now - timedelta(seconds=3600),
        newest_event=lambda: None,
    )
    found = {
        sample.labels["part"]: sample.value
        for family in text_string_to_metric_families(metrics.render()[0].decode())
        for sample in family.samples
        if sample.name == "streamrec_features_age_seconds"
    }
    assert found["user_rows"] == pytest.approx(60.0, abs=30.0)
    assert found["item_features"] == pytest.approx(3600.0, abs=30.0)
    assert found["newest_event"] != found["newest_event"]  # NaN

    def gone():
        raise NotReadyError("nothing is materialised")

    metrics.watch_features(rows=gone, items=gone, newest_event=gone)
    assert b'streamrec_features_age_seconds{part="user_rows"} NaN' in metrics.render()[0]
