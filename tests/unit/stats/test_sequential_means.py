from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from streamrec.stats.clustered_ratios import RatioMoments
from streamrec.stats.sequential_means import (
    Score,
    log_evidence_of_gain,
    pooled_score,
    score_of,
)
from tests.unit.stats.clusters import clicking_users as made


def test_the_mixture_is_the_integral_over_losses():
    for score, information in ((30.0, 200.0), (-20.0, 100.0), (0.0, 0.0)):

        def ratio(drift, score=score, information=information):
            half_normal = 2.0 * np.exp(-0.5 * (drift / 0.3) ** 2) / (0.3 * np.sqrt(2.0 * np.pi))
            return half_normal * np.exp(drift * score - 0.5 * drift * drift * information)

        expected = quad(ratio, 0.0, 5.0, limit=200)[0]
        assert np.exp(log_evidence_of_gain(score, information, 0.3)) == pytest.approx(expected, rel=1e-6)


def test_a_difference_is_a_share_of_the_value():
    rng = np.random.default_rng(6)
    score = score_of(made(rng, 200_000, 0.09), made(rng, 200_000, 0.1))
    assert score.difference == pytest.approx(-0.105, abs=0.02)  # of 0.095, the value of both together


def test_too_early_says_nothing():
    rng = np.random.default_rng(7)
    enough = made(rng, 1_000, 0.1)
    assert score_of(enough, enough) is not None
    assert score_of(made(rng, 90, 0.5), enough) is None
    assert score_of(made(rng, 200, 0.01), made(rng, 200, 0.01)) is None  # a handful of clicks
    assert score_of(RatioMoments(), enough) is None
    constant = RatioMoments.of(np.ones(500), np.ones(500))
    assert score_of(constant, constant) is None  # nothing varies: nothing says by how much it could


def test_steps_add_up():
    rng = np.random.default_rng(8)
    pairs = [(made(rng, 500, 0.1), made(rng, 900, 0.1)) for _ in range(3)]
    both = pooled_score([*pairs, (RatioMoments(), RatioMoments())])
    assert both.information == pytest.approx(sum(score_of(*pair).information for pair in pairs))
    assert pooled_score([]) is None
    assert Score().difference is None
