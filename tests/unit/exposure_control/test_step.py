from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.recommendations.exposure_control.exposure_prices import MAXIMUM_PRICE
from services.recommendations.exposure_control.step import (
    ControlSettings,
    Decision,
    ExposureWindow,
    initial_state,
    step,
)
from streamrec.contracts.errors import InvalidInputError
from streamrec.stats.exposure import gini_weights

SETTINGS = ControlSettings(target_gini=0.3)
START = initial_state({"de": 0.001, "en": 0.0, "sw": 0.002}, SETTINGS, 0.003)
UNEVEN = {"de": 200.0, "en": 9000.0, "sw": 800.0}
EVEN = {"de": 3300.0, "en": 3400.0, "sw": 3300.0}


def test_it_begins_with_the_fitted_prices():
    assert START.prices == pytest.approx({"de": 0.001, "en": 0.0, "sw": 0.002})
    assert START.strength == 0.003


def test_more_inequality_than_wanted_means_more_pressure_on_the_language_that_has_most():
    outcome = step(SETTINGS, START, ExposureWindow(1000, UNEVEN))
    assert outcome.decision is Decision.ADJUSTED
    assert outcome.gini > 0.3
    assert outcome.state.strength > START.strength
    assert outcome.state.prices["en"] == 0.0
    assert outcome.state.prices["de"] > START.prices["de"]


def test_less_inequality_than_wanted_means_less_pressure():
    outcome = step(SETTINGS, START, ExposureWindow(1000, EVEN))
    assert outcome.gini < 0.3
    assert outcome.state.strength < START.strength


@pytest.mark.parametrize(
    "window",
    [
        ExposureWindow(0, {}),
        ExposureWindow(499, UNEVEN),
        ExposureWindow(10_000, {}),
        ExposureWindow(10_000, {"fi": 10.0}),
        ExposureWindow(10_000, {"en": float("nan")}),
        ExposureWindow(10_000, {"en": float("inf")}),
        ExposureWindow(10_000, {"en": -1.0, "de": 3.0}),
    ],
)
def test_it_holds_still_on_too_little_evidence(window):
    outcome = step(SETTINGS, START, window)
    assert outcome.state is START
    assert outcome.decision is Decision.HELD_TOO_LITTLE_EVIDENCE
    assert outcome.gini is None


def test_no_window_changes_the_strength_by_more_than_the_bound():
    for exposure in (UNEVEN, EVEN, {"en": 1.0}):
        outcome = step(SETTINGS, START, ExposureWindow(10**6, exposure))
        assert abs(np.log(outcome.state.strength / START.strength)) <= SETTINGS.maximum_log_step + 1e-12


def test_it_does_not_wind_up_while_nothing_helps():
    """A catalogue that nobody can balance for a long time, then balance: the answer is as fast as ever."""
    state = START
    for _ in range(500):
        outcome = step(SETTINGS, state, ExposureWindow(1000, {"en": 1.0}))
        state = outcome.state
    assert outcome.decision is Decision.LIMITED_BY_STRENGTH
    assert state.strength == SETTINGS.maximum_strength
    relaxed = step(SETTINGS, state, ExposureWindow(1000, EVEN)).state
    assert relaxed.strength < state.strength
    turned = state
    for _ in range(6):
        turned = step(SETTINGS, turned, ExposureWindow(1000, {"sw": 1.0})).state
    assert turned.prices["sw"] < turned.prices["de"]


windows = st.builds(
    ExposureWindow,
    st.integers(0, 10**7),
    st.dictionaries(st.sampled_from(["de", "en", "sw", "fi"]), st.floats(-1, 1e12), max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(windows, max_size=12))
def test_whatever_is_observed_the_state_stays_in_its_bounds(observed):
    state = START
    for window in observed:
        state = step(SETTINGS, state, window).state
        assert SETTINGS.minimum_strength <= state.strength <= SETTINGS.maximum_strength
        assert state.pattern.sum() == pytest.approx(0.0, abs=1e-9)
        assert np.abs(state.pattern).max() <= gini_weights(3)[-1] + 1e-9
        assert all(0.0 <= price <= MAXIMUM_PRICE for price in state.prices.values())


def test_a_fit_that_had_nothing_to_price_is_a_start_too():
    state = initial_state({"de": 0.0, "en": 0.0}, SETTINGS, 0.0)
    assert state.prices == {"de": 0.0, "en": 0.0}
    assert step(SETTINGS, state, ExposureWindow(1000, {"en": 1.0})).state.prices["de"] > 0.0


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(InvalidInputError, match="languages"):
        initial_state({"en": 0.0}, SETTINGS, 0.0)
    with pytest.raises(InvalidInputError, match="negative"):
        initial_state({"en": 0.0, "de": -1.0}, SETTINGS, 0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target_gini", 1.5),
        ("gain", 0.0),
        ("maximum_log_step", float("inf")),
        ("minimum_requests", 0),
        ("maximum_strength", 0.9),
    ],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(InvalidInputError, match=field):
        ControlSettings(**{field: value})
