"""Figures of metrics equal those of a plain implementation, split or not, over days and parts of days."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.metrics.definitions import Aggregation
from streamrec.contracts.progress import SilentProgress
from streamrec.contracts.results import Verdict
from streamrec.metrics import estimates, statistics_files
from streamrec.metrics.catalogue import Metric, MetricCatalogue, parse_metrics
from streamrec.metrics.computation import compute, result_of
from streamrec.stats.quantile_counts import RELATIVE_ACCURACY, bucket_keys, value_of
from tests.made_events import an_impression, an_outcome
from tests.unit.metrics.plain import plain_figure, plain_units
from tests.unit.metrics.workplace import CATALOGUE, DAYS, END, FIRST, LATER, a_source, memory_log, some_events

MORE = b"""
metrics:
  all_plays_per_user:
    owner: t
    description: Plays of any origin
    unit: plays
    direction: higher_is_better
    aggregation: mean
    of: {event: outcome, kinds: [play, click], joined: false}
    per: {event: impression}
    capping: {at: 2, per: unit_day}
  few_actions_per_user:
    owner: t
    description: Actions of a user, one and a half a day at most
    unit: actions
    direction: higher_is_better
    aggregation: mean
    of: {event: outcome, kinds: [click, play, complete, like, skip]}
    per: {event: impression}
    capping: {at: 1.5, per: unit_day}
  median_seconds:
    owner: t
    description: Median of what is watched
    unit: s
    direction: higher_is_better
    aggregation: quantile
    quantile: 0.5
    of: {event: outcome, kinds: [play, complete, click, like], field: value}
  home_clicks:
    owner: t
    description: Clicks for each slate of one slot
    unit: share
    direction: higher_is_better
    aggregation: rate
    of: {event: outcome, kinds: [click], slots: [home.ranking]}
    per: {event: impression, slots: [home.ranking, ads.ranking]}
    window_hours: 2
  home_seconds:
    owner: t
    description: Seconds for each item of one slot
    unit: share
    direction: higher_is_better
    aggregation: ratio
    of: {event: outcome, kinds: [play, complete, like], field: value, slots: [home.ranking]}
    per: {event: impression, field: items, slots: [home.ranking]}
    capping: {at: 1000, per: event}
"""
METRICS = {metric.name: metric for metric in (*CATALOGUE, *MetricCatalogue({"more": parse_metrics(MORE)}))}


def figures_of(metric, sources, *, start=FIRST, end=END, by=(), now=LATER, level=0.95):
    return compute(
        metric,
        CATALOGUE,
        sources,
        start=start,
        end=end,
        by=by,
        now=now,
        progress=SilentProgress(),
        level=level,
    )


def check(metric: Metric, records, sources, start, end, by=()):
    definition = metric.definition
    fields = tuple(CATALOGUE.dimension(name).field for name in by)
    plain = plain_units(definition, memory_log(records).snapshot(), start, end, fields)
    found = figures_of(metric, sources, start=start, end=end, by=by).figures
    cells = {cell for cell, units in plain.items() if any(units.values())}
    assert {figure.cell for figure in found} == (cells or set() if by else {()})
    for figure in found:
        units = plain[figure.cell]
        moments = figure.statistics.moments
        assert figure.statistics.cases == sum(sums[2] for sums in units.values())
        if moments.units < 2 or moments.y == 0.0:
            continue
        value, error, n = plain_figure(definition, units)
        assert moments.units == n
        if definition.aggregation is Aggregation.QUANTILE:
            found_key = figure.statistics.buckets.key_at(definition.quantile)
            assert value_of(found_key) == pytest.approx(value, rel=RELATIVE_ACCURACY * 1.001)
            below = [np.count_nonzero(bucket_keys(np.array(sums[3])) <= found_key) for sums in units.values()]
            share = sum(below) / figure.statistics.cases
            squares = [(x - share * sums[2]) ** 2 for x, sums in zip(below, units.values(), strict=True)]
            assert figure.statistics.errors.squares == pytest.approx(sum(squares), rel=1e-9, abs=1e-12)
            continue
        assert moments.ratio == pytest.approx(value, rel=1e-12)
        assert np.sqrt(moments.variance) == pytest.approx(error, rel=1e-9, abs=1e-12)
        if figure.estimate is not None:
            assert figure.estimate.value == moments.ratio


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_equals_its_plain_implementation(name):
    records = some_events(seed=sum(map(ord, name)) % 97)
    check(METRICS[name], records, a_source(memory_log(records)), FIRST, END)


@pytest.mark.parametrize("by", [("slot",), ("version", "rung"), ("segment",), ("segment", "slot", "role")])
@pytest.mark.parametrize(
    "name", ["click_rate", "few_actions_per_user", "watch_seconds_per_play", "latency_p50_ms"]
)
def test_split_figures_equal_the_plain_ones(name, by):
    records = some_events(seed=11)
    check(METRICS[name], records, a_source(memory_log(records)), FIRST, END, by)


@pytest.mark.parametrize(
    "name", ["click_rate", "watch_seconds_per_user", "all_plays_per_user", "latency_p50_ms"]
)
def test_parts_of_days_count_what_lies_in_them(name):
    records = some_events(seed=12)
    start, end = FIRST + timedelta(hours=7), FIRST + timedelta(days=2, hours=19)
    check(METRICS[name], records, a_source(memory_log(records)), start, end)


@pytest.mark.parametrize("name", ["click_rate", "plays_per_user", "latency_p99_ms"])
def test_ranges_of_units_are_read_one_after_the_other_to_the_same_end(name, monkeypatch):
    sources = a_source(memory_log(some_events(seed=13)))
    by = ("segment", "version")
    at_once = result_of(figures_of(METRICS[name], sources, by=by)).to_json()
    monkeypatch.setattr(statistics_files, "BLOCK_ROWS", 3)
    monkeypatch.setattr(estimates, "BLOCKS_AT_ONCE", 2)
    in_parts = result_of(figures_of(METRICS[name], sources, by=by)).to_json()
    assert json.loads(json.dumps(in_parts), parse_float=lambda text: f"{float(text):.12g}") == json.loads(
        json.dumps(at_once), parse_float=lambda text: f"{float(text):.12g}"
    )


def test_a_unit_that_is_active_on_every_day_is_one_unit():
    def interval(units_of_day):
        records = [
            an_impression(10 * day + number, unit=unit, predicted_at=FIRST + timedelta(days=day, hours=1))
            for day in range(DAYS)
            for number, unit in enumerate(units_of_day(day))
        ]
        clicks = [
            an_outcome(
                event_id=shown.unit + shown.request_id,
                unit=shown.unit,
                request_id=shown.request_id,
                occurred_at=shown.predicted_at,
                received_at=shown.predicted_at,
            )
            for shown in records
            if int(shown.unit[1:]) % 2
        ]
        return figures_of(METRICS["click_rate"], a_source(memory_log(records + clicks))).figures[0].estimate

    same = interval(lambda _: ["u1", "u2", "u3", "u4"])
    others = interval(lambda day: [f"u{10 * day + number}" for number in range(1, 5)])
    assert (same.n, others.n) == (4, 4 * DAYS)
    assert same.high - same.low > 1.5 * (others.high - others.low)


def test_too_few_units_and_no_difference_are_inconclusive_and_say_so():
    sources = a_source(memory_log(some_events(seed=14)))
    few = result_of(figures_of(METRICS["click_rate"], sources))
    assert few.verdict is Verdict.INCONCLUSIVE
    assert few.reasons[0].code == "below_minimum_sample"
    assert few.content["figures"][0]["estimate"] is not None
    alike = [an_impression(number, unit=f"u{number}", predicted_at=FIRST) for number in range(100)]
    none = result_of(figures_of(METRICS["slates_per_user"], a_source(memory_log(alike))))
    assert (none.reasons[0].code, none.content["figures"][0]["estimate"]) == ("no_estimate", None)
    enough = result_of(figures_of(METRICS["click_rate"], a_source(memory_log(alike))))
    assert enough.verdict is Verdict.PASSED
    assert enough.content["figures"][0]["estimate"]["value"] == 0.0


def test_nothing_is_inconclusive_split_or_not():
    for by in ((), ("slot",)):
        result = result_of(figures_of(METRICS["click_rate"], a_source(memory_log([])), by=by))
        assert result.verdict is Verdict.INCONCLUSIVE
        assert result.reasons[0].code == ("no_events" if by else "below_minimum_sample")


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("click_rate", {"by": ("unit",)}, "there is no dimension"),
        ("click_rate", {"by": ("slot", "slot")}, "twice"),
        ("click_rate", {"by": ("slot", "role", "version", "rung", "segment", "language")}, "more than 5"),
        ("click_rate", {"end": FIRST}, "after the start"),
        ("click_rate", {"end": FIRST + timedelta(days=401)}, "400 days"),
        ("click_rate", {"level": 1.0}, "below 1"),
        ("click_rate", {"by": ("age_band",)}, "nothing called 'age_band' is known"),
        ("all_plays_per_user", {"by": ("slot",)}, "belong to none"),
        ("predictions_per_unit", {"by": ("version:search.ranking",)}, "said of impressions"),
    ],
)
def test_what_cannot_be_asked_is_refused(name, changes, words):
    with pytest.raises(InvalidInputError, match=words):
        figures_of(METRICS[name], a_source(memory_log(some_events(seed=15))), **changes)


def test_more_values_than_a_dimension_may_have_are_refused_and_a_list_has_its_others():
    records = [an_impression(number, predicted_at=FIRST, slot=f"s{number}.a") for number in range(101)]
    with pytest.raises(InvalidInputError, match="more than 100 values") as refused:
        figures_of(METRICS["click_rate"], a_source(memory_log(records)), by=("slot",))
    assert refused.value.field == "dimensions.slot"
    listed = parse_metrics(b"dimensions:\n  place: {field: slot, description: d, values: [s1.a, s2.a]}\n")
    found = compute(
        METRICS["click_rate"],
        MetricCatalogue({"listed": listed}),
        a_source(memory_log(records)),
        start=FIRST,
        end=END,
        by=("place",),
        now=LATER,
        progress=SilentProgress(),
    )
    assert {figure.cell: figure.statistics.cases for figure in found.figures} == {
        ("s1.a",): 1,
        ("s2.a",): 1,
        ("other",): 99,
    }


def test_the_version_of_any_slot_that_took_part_and_the_variant_of_an_experiment_split():
    records = [
        an_impression(
            number,
            predicted_at=FIRST,
            versions={"search.retrieval": f"search-retrieval@{1 + number % 2}"},
            variants={"colour": ["red", "blue", "blue"][number % 3]},
        )
        for number in range(6)
    ]
    found = figures_of(
        METRICS["click_rate"],
        a_source(memory_log(records)),
        by=("version:search.retrieval", "variant:colour"),
    )
    assert {figure.cell: figure.statistics.cases for figure in found.figures} == {
        ("search-retrieval@1", "red"): 1,
        ("search-retrieval@1", "blue"): 2,
        ("search-retrieval@2", "red"): 1,
        ("search-retrieval@2", "blue"): 2,
    }
