from __future__ import annotations

import numpy as np
import pytest

from streamrec.stats.clustered_ratios import RatioMoments
from streamrec.stats.sample_sizes import design_effect, requests_per_arm, samples_per_arm, smaller_arm

USUAL = {"confidence": 0.975, "power": 0.8}


def test_two_per_cent_off_a_click_rate_of_five():
    assert requests_per_arm(0.05, 0.02, **USUAL) == 745_644


def test_requests_of_the_same_users_say_less():
    once = RatioMoments.of(np.repeat([0.0, 1.0], [950, 50]), np.ones(1_000))
    thrice = RatioMoments.of(3.0 * np.repeat([0.0, 1.0], [950, 50]), np.full(1_000, 3.0))
    assert design_effect(once) == pytest.approx(1.0, rel=2e-3)
    assert design_effect(thrice) == pytest.approx(3.0, rel=2e-3)
    assert samples_per_arm(once, 0.02, **USUAL) == pytest.approx(745_644, rel=2e-3)
    assert samples_per_arm(thrice, 0.02, **USUAL) == pytest.approx(3 * 745_644, rel=2e-3)
    assert requests_per_arm(0.05, 0.02, design_effect=3.0, **USUAL) == pytest.approx(3 * 745_644, abs=3)


def test_a_smaller_arm_beside_a_larger_one():
    assert smaller_arm(1_000, 0.5) == 1_000
    assert smaller_arm(1_000, 0.1) == 556  # beside 5,000: 1/556 + 1/5,000 is 2/1,000
    with pytest.raises(ValueError, match="nobody"):
        smaller_arm(1_000, 1.0)


def test_what_cannot_be_computed_is_refused_or_no_number():
    with pytest.raises(ValueError, match="rate"):
        requests_per_arm(0.0, 0.02, **USUAL)
    with pytest.raises(ValueError, match="margin"):
        requests_per_arm(0.05, 0.0, **USUAL)
    assert samples_per_arm(RatioMoments(), 0.02, **USUAL) is None
    assert design_effect(RatioMoments()) is None
