from __future__ import annotations

import pytest

from streamrec.stats.clustered_ratios import RatioMoments
from streamrec.stats.non_inferiority import non_inferiority

SETTINGS = {"margin": 0.1, "confidence": 0.95, "power": 0.8}


def clicks(requests, clicked):
    return RatioMoments(
        requests, float(clicked), float(requests), float(clicked), float(clicked), float(requests)
    )


def test_one_step_is_the_textbook_bound():
    found = non_inferiority([(clicks(10_000, 480), clicks(10_000, 500))], **SETTINGS)
    variance = 0.048 * 0.952 / 9_999 + 0.81 * 0.05 * 0.95 / 9_999
    slack = 0.048 - 0.9 * 0.05
    assert found.gain == pytest.approx(-0.04)
    assert found.bound == pytest.approx((slack - 1.644854 * variance**0.5) / 0.05 - 0.1, rel=1e-5)
    assert not found.is_shown


def test_it_is_decided_by_what_is_known_and_not_by_what_it_says():
    for clicked in (400, 600):
        found = non_inferiority([(clicks(10_000, clicked), clicks(10_000, 500))], **SETTINGS)
        assert not found.can_decide
    found = non_inferiority([(clicks(30_000, 1_500), clicks(30_000, 1_500))], **SETTINGS)
    assert found.can_decide
    assert found.is_shown
    assert found.samples_needed <= 30_000


def test_steps_with_other_shares_at_other_times_do_not_bias_it():
    # Equal in each step; the challenger got most of its traffic when everybody clicked less.
    steps = [(clicks(1_000, 100), clicks(99_000, 9_900)), (clicks(50_000, 2_000), clicks(50_000, 2_000))]
    assert non_inferiority(steps, **SETTINGS).gain == pytest.approx(0.0, abs=1e-12)


def test_where_less_is_better_a_rise_is_a_loss():
    arms = [(clicks(30_000, 1_400), clicks(30_000, 1_500))]
    assert non_inferiority(arms, **SETTINGS).gain < 0.0
    assert non_inferiority(arms, lower_is_better=True, **SETTINGS).gain > 0.0
    worse = [(clicks(60_000, 3_400), clicks(60_000, 3_000))]
    assert not non_inferiority(worse, lower_is_better=True, **SETTINGS).is_shown


def test_nothing_known_is_no_number():
    assert non_inferiority([], **SETTINGS) is None
    assert non_inferiority([(clicks(50, 5), clicks(5_000, 500))], **SETTINGS) is None
    assert non_inferiority([(clicks(500, 0), clicks(500, 0))], **SETTINGS) is None
