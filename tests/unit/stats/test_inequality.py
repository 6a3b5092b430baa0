from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrec.stats.inequality import gini

amounts = st.lists(st.floats(0, 1e6), min_size=1, max_size=30).filter(lambda values: sum(values) > 1e-3)


def gini_by_mean_absolute_difference(values: list[float]) -> float:
    """The definition: half the relative mean absolute difference."""
    array = np.array(values)
    return float(np.abs(array[:, None] - array[None, :]).mean() / (2 * array.mean()))


@given(amounts)
def test_agrees_with_the_definition(values: list[float]) -> None:
    assert gini(np.array(values)) == pytest.approx(gini_by_mean_absolute_difference(values), abs=1e-9)


@given(amounts, st.floats(0.1, 100))
def test_does_not_depend_on_unit_or_order(values: list[float], factor: float) -> None:
    assert gini(np.array(values[::-1]) * factor) == pytest.approx(gini(np.array(values)), abs=1e-9)


def test_known_values() -> None:
    assert gini(np.ones(7)) == pytest.approx(0.0)
    assert gini(np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx(0.75)


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [-1.0, 2.0], [float("nan"), 1.0]])
def test_refuses_what_cannot_be_spread(values: list[float]) -> None:
    with pytest.raises(ValueError, match="amounts"):
        gini(np.array(values))
