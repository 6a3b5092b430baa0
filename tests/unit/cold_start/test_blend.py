from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.recommendations.cold_start.assessment import Cases
from services.recommendations.cold_start.blend import SEGMENT_WEIGHTS, TASTE_WEIGHTS, _Curve, fit_blend
from services.recommendations.contracts.candidates import UserState


def curve(means, errors):
    return _Curve(TASTE_WEIGHTS[: len(means)], np.array(means), np.array(errors))


def test_the_smallest_weight_within_one_standard_error_is_taken():
    found = curve([0.10, 0.18, 0.20, 0.21, 0.19], [0.02, 0.02, 0.02, 0.015, 0.02])
    assert found.best == TASTE_WEIGHTS[3]
    assert found.smallest_within_one_error == TASTE_WEIGHTS[2]
    assert found.highest == pytest.approx(0.21)


def test_without_doubt_it_is_the_best_one():
    assert curve([0.1, 0.2, 0.3], [0.0, 0.0, 0.0]).smallest_within_one_error == TASTE_WEIGHTS[2]


def cases(model, *, near, users=60):
    """Users of one click whose next item lies next to it, or anywhere."""
    rng = np.random.default_rng(8)
    states, targets = [], []
    for number in range(users):
        clicked = int(rng.integers(len(model.index)))
        similar = model.index.vectors @ model.index.vectors[clicked]
        similar[clicked] = -np.inf
        target = int(similar.argmax()) if near else int(model.popularity.leaders[0][rng.integers(1, 4)])
        history = (model.index.item_ids[clicked],)
        if target == clicked:
            continue
        for shown in ((), history):
            states.append(UserState(f"u{number}", history=shown))
            targets.append(target)
    seen = [np.empty(0, dtype=np.int64)] * len(states)
    return Cases(states, np.array(targets), seen)


@pytest.mark.parametrize("near", [True, False])
def test_taste_has_weight_where_it_tells_and_none_where_it_does_not(model, near):
    greedy = replace(model, blend=replace(model.blend, exploration=0.0))
    found = fit_blend(greedy, cases(model, near=near), pool=300, rng=np.random.default_rng(0))
    assert (found.taste_weight >= 0.25) is near
    assert found.segment_weight in SEGMENT_WEIGHTS
