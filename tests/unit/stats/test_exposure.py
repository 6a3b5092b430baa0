from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.stats.exposure import (
    gini_weights,
    group_exposure,
    next_pattern,
    prices_of,
    project_onto_permutohedron,
)
from streamrec.stats.inequality import gini

shares = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=5).filter(lambda values: sum(values) > 1e-3)


@given(shares)
def test_the_gini_is_the_support_function_of_the_permutohedron(values):
    exposure = np.array(values) / sum(values)
    largest = max(np.dot(order, exposure) for order in permutations(gini_weights(len(values))))
    assert gini(exposure) == pytest.approx(largest, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(-3.0, 3.0), min_size=2, max_size=5), st.integers(0, 2**32 - 1))
def test_no_point_of_the_permutohedron_is_nearer_than_the_projection(values, seed):
    point, weights = np.array(values), gini_weights(len(values))
    nearest = project_onto_permutohedron(point, weights)
    corners = np.array(list(permutations(weights)))
    mixed = np.random.default_rng(seed).dirichlet(np.full(len(corners), 0.3), size=50) @ corners
    for other in [*corners, *mixed]:
        # Of a convex set: the angle between the way there and the way on is at least a right one.
        assert (point - nearest) @ (other - nearest) <= 1e-9
    assert nearest.sum() == pytest.approx(0.0, abs=1e-9)
    assert np.abs(nearest).max() <= weights[-1] + 1e-9


def test_over_exposed_groups_rise_in_the_pattern_and_have_the_lowest_prices():
    pattern = np.zeros(3)
    for _ in range(10):
        pattern = next_pattern(pattern, np.array([0.6, 0.3, 0.1]), 1.0)
    assert pattern == pytest.approx(gini_weights(3)[::-1])
    assert prices_of(pattern, 0.3) == pytest.approx([0.0, 0.2, 0.4])


def test_even_exposure_leaves_the_pattern_alone():
    assert next_pattern(np.zeros(4), np.full(4, 0.25), 1.0) == pytest.approx(np.zeros(4))


def test_creators_who_are_never_shown_count():
    creator_of = {f"i{row}": f"c{row // 2}" for row in range(8)}
    found = group_exposure([("i0", "i1", "i2"), ("i0", "?")], creator_of)
    assert found.groups == 4
    assert found.exposed_share == 0.5
    assert found.gini == pytest.approx(gini(np.array([3.0, 1.0, 0.0, 0.0])))
    assert found.top_decile_share == 0.75


def test_nothing_shown_and_nobody_to_show():
    found = group_exposure([], {"i": "c"})
    assert (found.gini, found.exposed_share, found.top_decile_share) == (None, 0.0, None)
    with pytest.raises(ValueError, match="nobody"):
        group_exposure([("i",)], {})
