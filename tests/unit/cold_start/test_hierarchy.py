from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from services.recommendations.cold_start.canonical_basis import EarlyInteractions, fit_basis
from services.recommendations.cold_start.hierarchy import (
    POPULATION_SCALE,
    Scales,
    effects_given,
    laplace_approximation,
    log_likelihood,
    log_scale_likelihood,
    log_scale_prior,
    scales_of,
    segment_statistics,
)

USERS, COORDINATES = 14, 3
ATTRIBUTE_OF_COLUMN = np.array([0, 0, 1, 1, 1])


@pytest.fixture
def case():
    rng = np.random.default_rng(4)
    design = np.zeros((USERS, 6))
    design[:, 0] = 1.0
    design[np.arange(USERS), rng.integers(1, 3, USERS)] = 1.0
    design[np.arange(USERS), rng.integers(3, 6, USERS)] = 1.0
    scatter = rng.normal(size=(20, COORDINATES))
    early = EarlyInteractions(
        rng.normal(size=(USERS, COORDINATES)) + 0.5, rng.integers(1, 4, USERS), scatter.T @ scatter
    )
    return early, design, segment_statistics(early, np.eye(COORDINATES), design, ATTRIBUTE_OF_COLUMN, 2)


def some_scales(seed):
    rng = np.random.default_rng(seed)
    return Scales(
        rng.uniform(0.2, 1.0, (2, COORDINATES)),
        rng.uniform(0.5, 1.5, COORDINATES),
        rng.uniform(0.5, 1.5, COORDINATES),
    )


def dense_log_likelihood(early, design, scales):
    """The same thing from the joint distribution of the users, one multivariate normal a coordinate."""
    total = 0.0
    for k in range(COORDINATES):
        prior = np.concatenate([[POPULATION_SCALE], scales.spread[ATTRIBUTE_OF_COLUMN, k]]) ** 2
        covariance = (design * prior) @ design.T
        covariance += np.diag(scales.between[k] ** 2 + scales.noise[k] ** 2 / early.counts)
        total += multivariate_normal(np.zeros(USERS), covariance).logpdf(early.means[:, k])
        total -= early.degrees_of_freedom * np.log(scales.noise[k])
        total -= 0.5 * early.within[k, k] / scales.noise[k] ** 2
    return total


def test_marginal_likelihood_is_that_of_the_joint_distribution(case):
    early, design, statistics = case
    first, second = some_scales(0), some_scales(1)
    expected = dense_log_likelihood(early, design, first) - dense_log_likelihood(early, design, second)
    assert log_likelihood(statistics, first)[0] - log_likelihood(statistics, second)[0] == pytest.approx(
        expected, abs=1e-8
    )


def test_gradient_is_that_of_finite_differences(case):
    *_, statistics = case
    point = np.random.default_rng(2).normal(scale=0.3, size=2 + 2 * COORDINATES)
    _, gradient = log_scale_likelihood(statistics, point)
    for position in range(len(point)):
        step = np.zeros_like(point)
        step[position] = 1e-5
        numeric = log_scale_likelihood(statistics, point + step)[0]
        numeric = (numeric - log_scale_likelihood(statistics, point - step)[0]) / 2e-5
        assert gradient[position] == pytest.approx(numeric, rel=1e-5, abs=1e-5)


def test_effects_are_the_generalised_least_squares_posterior(case):
    early, design, statistics = case
    scales = some_scales(3)
    effects = effects_given(statistics, scales)
    for k in range(COORDINATES):
        prior = np.concatenate([[POPULATION_SCALE], scales.spread[ATTRIBUTE_OF_COLUMN, k]]) ** 2
        weight = 1.0 / (scales.between[k] ** 2 + scales.noise[k] ** 2 / early.counts)
        covariance = np.linalg.inv(np.diag(1.0 / prior) + (design.T * weight) @ design)
        np.testing.assert_allclose(effects.covariance[k], covariance, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(
            effects.mean[:, k], covariance @ (design.T @ (weight * early.means[:, k])), rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("extreme", [-800.0, 800.0])
def test_absurd_scales_are_impossible_and_not_an_error(case, extreme):
    *_, statistics = case
    value, gradient = log_scale_likelihood(statistics, np.full(2 + 2 * COORDINATES, extreme))
    assert value == -np.inf
    assert np.isfinite(gradient).all()


def test_laplace_approximation_stands_at_the_mode(case):
    *_, statistics = case
    mode, width = laplace_approximation(statistics)
    mean, deviation = log_scale_prior(statistics)
    slope = log_scale_likelihood(statistics, mode)[1] - (mode - mean) / deviation**2
    np.testing.assert_allclose(slope, 0.0, atol=1e-2)
    assert (width > 0).all()
    assert scales_of(statistics, mode).spread.shape == (2, COORDINATES)


def test_basis_makes_both_covariances_diagonal():
    rng = np.random.default_rng(6)
    mixing = rng.normal(size=(4, 4))
    users = rng.normal(size=(4000, 4)) * [2.0, 1.0, 0.5, 0.1] @ mixing
    clicks = users[:, None, :] + rng.normal(size=(4000, 6, 4)) @ (mixing * 0.7)
    means = clicks.mean(axis=1)
    centred = (clicks - means[:, None, :]).reshape(-1, 4)
    basis = fit_basis(EarlyInteractions(means, np.full(4000, 6), centred.T @ centred))
    noise = basis.to_canonical.T @ (centred.T @ centred / (4000 * 5)) @ basis.to_canonical
    np.testing.assert_allclose(noise, np.eye(4), atol=0.05)
    between = basis.to_canonical.T @ np.cov(users.T) @ basis.to_canonical
    np.testing.assert_allclose(between, np.diag(basis.variance), atol=0.1 * basis.variance[0])
    np.testing.assert_allclose(basis.to_canonical @ basis.from_canonical, np.eye(4), atol=1e-8)
    assert (np.diff(basis.variance) <= 0).all()
