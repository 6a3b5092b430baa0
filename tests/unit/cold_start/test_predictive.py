from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.recommendations.cold_start.artifact import NOMINAL_COVERAGES
from services.recommendations.cold_start.assessment import Cases
from services.recommendations.cold_start.predictive import (
    coverage,
    fit_interval_widths,
    gaussian_widths,
)
from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.item_index.index import ItemIndex

TARGETS = 1500


def world_of(model, *, tail, seed):
    """Users without history whose next items scatter as the model says, or with other tails."""
    rng = np.random.default_rng(seed)
    mean, variance = model.prior.of(Segment(language="fi"))
    scatter = (
        rng.standard_t(tail, (TARGETS, len(mean))) if tail else rng.standard_normal((TARGETS, len(mean)))
    )
    coordinates = mean + np.sqrt(1.0 + variance) * scatter
    item_ids = tuple(f"t{row}" for row in range(TARGETS))
    index = ItemIndex.build(item_ids, (coordinates @ model.basis.from_canonical).astype(np.float32))
    placed = replace(model, index=index)
    # The index keeps directions alone; the coordinates are what this test is about.
    placed.__dict__["item_coordinates"] = coordinates.astype(np.float32)
    users = [UserState(f"u{row}", Segment(language="fi")) for row in range(TARGETS)]
    return placed, Cases(users, np.arange(TARGETS), [np.empty(0, dtype=np.int64)] * TARGETS)


def test_gaussian_intervals_cover_what_they_claim_where_the_model_is_right(model):
    points = coverage(*world_of(model, tail=None, seed=1), rng=np.random.default_rng(0))
    assert [point.nominal for point in points] == list(NOMINAL_COVERAGES)
    for point in points:
        assert point.empirical.value == pytest.approx(point.nominal, abs=0.025)
        assert point.empirical.low < point.empirical.value < point.empirical.high


def test_other_tails_are_uncovered_until_the_widths_are_fitted(model):
    placed, cases = world_of(model, tail=2, seed=2)
    before = coverage(placed, cases, rng=np.random.default_rng(0))
    assert abs(before[4].empirical.value - 0.9) > 0.05
    fitted = fit_interval_widths(placed, cases)
    fresh, held_out = world_of(model, tail=2, seed=3)
    for point in coverage(replace_widths(fresh, fitted), held_out, rng=np.random.default_rng(0)):
        assert point.empirical.value == pytest.approx(point.nominal, abs=0.03)


def replace_widths(model, widths):
    changed = replace(model, interval_widths=widths)
    changed.__dict__["item_coordinates"] = model.item_coordinates
    return changed


def test_intervals_narrow_as_clicks_come_in(model):
    before = 1.0 + 1.0 / model.posterior(UserState("u")).precision
    after = 1.0 + 1.0 / model.posterior(UserState("u", history=("item-1", "item-2"))).precision
    assert (after < before).all()


def test_without_cases_the_gaussian_stands_and_nothing_is_claimed(model):
    none = Cases([], np.empty(0, dtype=np.int64), [])
    np.testing.assert_array_equal(fit_interval_widths(model, none), gaussian_widths(6))
    assert coverage(model, none, rng=np.random.default_rng(0)) == []
