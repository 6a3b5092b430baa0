from __future__ import annotations

from datetime import timedelta

import pytest

from streamrec.events.joining import join_outcomes
from streamrec.events.records import RecordKind
from streamrec.metrics.outcome_join import (
    IMPRESSION_COLUMNS,
    NO_ANSWER,
    OUTCOME_COLUMNS,
    answered,
    joined_rows,
)
from tests.made_events import NOON, an_impression, an_outcome
from tests.unit.metrics.workplace import memory_log, some_events

DAY = timedelta(days=1)


def joined(log, window):
    """Pairs of outcome and impression, by identity, on tables."""
    outcomes = log.table(RecordKind.OUTCOME, [*OUTCOME_COLUMNS, "event_id"])
    impressions = log.table(RecordKind.IMPRESSION, IMPRESSION_COLUMNS)
    rows = joined_rows(outcomes, impressions, window)
    shown = impressions.to_pylist()
    return {
        (outcome["unit"], outcome["event_id"]): (shown[row]["request_id"], shown[row]["slot"])
        for outcome, row in zip(outcomes.to_pylist(), rows.tolist(), strict=True)
        if row != NO_ANSWER
    }


@pytest.mark.parametrize("seed", range(5))
def test_tables_are_joined_as_objects_are(seed):
    log = memory_log(some_events(seed))
    snapshot = log.snapshot()
    for window in (DAY, timedelta(hours=2)):
        plain = {
            (match.outcome.unit, match.outcome.event_id): (match.impression.request_id, match.impression.slot)
            for match in join_outcomes(snapshot.impressions, snapshot.outcomes, window=window).joined
        }
        assert len(plain) > 8
        assert joined(log, window) == plain


def test_what_a_client_calls_its_request_counts_only_where_no_request_has_that_id():
    mine = an_impression(1, unit="u1", client_request_id="r2")
    records = [mine, an_impression(2, unit="u1"), an_outcome(1, unit="u1", request_id="r2")]
    assert joined(memory_log(records), DAY) == {("u1", "e1"): ("r2", "search.ranking")}
    assert joined(memory_log(records[::2]), DAY) == {("u1", "e1"): ("r1", "search.ranking")}


def test_of_several_slates_of_a_request_the_first_by_the_name_of_the_slot_has_the_outcome():
    records = [
        an_impression(1, unit="u1", slot=slot, predicted_at=NOON + timedelta(seconds=late))
        for late, slot in enumerate(["zoo.ranking", "ads.ranking", "home.ranking"])
    ]
    records.append(an_outcome(9, unit="u1", request_id="r1", item_id="b"))
    assert joined(memory_log(records), DAY) == {("u1", "e9"): ("r1", "ads.ranking")}


def test_nothing_joins_nothing():
    only_outcomes, only_shown = memory_log([an_outcome(1)]), memory_log([an_impression(1)])
    assert joined(only_outcomes, DAY) == joined(only_shown, DAY) == joined(memory_log([]), DAY) == {}


def test_only_impressions_that_an_outcome_names_are_looked_at():
    records = [an_impression(number, client_request_id=f"c{number}") for number in range(5)]
    records += [
        an_outcome(1, request_id="r1"),
        an_outcome(2, request_id="c3"),
        an_outcome(3, request_id=None),
    ]
    log = memory_log(records)
    kept = answered(
        log.table(RecordKind.OUTCOME, OUTCOME_COLUMNS), log.table(RecordKind.IMPRESSION, IMPRESSION_COLUMNS)
    )
    assert sorted(kept["request_id"].to_pylist()) == ["r1", "r3"]


def test_the_bounds_of_the_window_belong_to_it():
    minutes = [-5.001, -5.0, 0.0, 60.0, 60.001]
    records = [an_impression(1, unit="u1", predicted_at=NOON)]
    records += [
        an_outcome(number, unit="u1", request_id="r1", occurred_at=moment, received_at=moment)
        for number, moment in enumerate(NOON + timedelta(minutes=late) for late in minutes)
    ]
    found = joined(memory_log(records), timedelta(hours=1))
    assert sorted(found) == [("u1", "e1"), ("u1", "e2"), ("u1", "e3")]
