"""The closed forms against PyMC on a case that is small enough for a sampler to do all of it."""

from __future__ import annotations

import numpy as np
import pymc
import pytest
from pytensor.compile.mode import Mode

from services.recommendations.cold_start.canonical_basis import CanonicalBasis, EarlyInteractions
from services.recommendations.cold_start.hierarchy import (
    POPULATION_SCALE,
    Scales,
    effects_given,
    segment_statistics,
)
from services.recommendations.cold_start.model import Posterior

pytestmark = pytest.mark.filterwarnings("ignore")  # PyMC's and ArviZ's own; the draws are what is tested


def sampled(model, name):
    with model:
        trace = pymc.sample(
            draws=500, tune=200, chains=2, cores=1, random_seed=7, progressbar=False, quiet=True,
            compute_convergence_checks=False,
            # Nothing is compiled: the sampler runs for less time than a compiler would.
            compile_kwargs={"mode": Mode(linker="vm", optimizer="fast_run")},
        )  # fmt: skip
    draws = trace.posterior[name].to_numpy()
    return draws.reshape(-1, *draws.shape[2:])


def test_a_users_posterior_is_the_one_that_pymc_samples():
    rng = np.random.default_rng(1)
    prior_mean, prior_variance = np.array([0.4, -0.3]), np.array([0.8, 0.3])
    clicks = rng.normal(size=(3, 2)) + 1.0
    basis = CanonicalBasis(np.eye(2), np.eye(2), np.zeros(2), np.ones(2))
    closed = Posterior(basis, prior_mean, 1.0 / prior_variance)
    for click in clicks:
        closed = closed.observed(click @ basis.to_canonical, 1)
    with pymc.Model() as model:
        user = pymc.Normal("user", mu=prior_mean, sigma=np.sqrt(prior_variance), shape=2)
        pymc.Normal("clicks", mu=user, sigma=1.0, observed=clicks)
    draws = sampled(model, "user")
    np.testing.assert_allclose(draws.mean(axis=0), closed.mean, atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), closed.covariance, atol=0.04)


def test_segment_effects_given_the_scales_are_those_that_pymc_samples():
    rng = np.random.default_rng(2)
    segments, users = 3, 24
    design = np.zeros((users, 1 + segments))
    design[:, 0] = 1.0
    member = rng.integers(segments, size=users)
    design[np.arange(users), 1 + member] = 1.0
    counts = rng.integers(1, 5, users)
    truth = np.array([-0.8, 0.1, 0.9])
    means = (truth[member] + rng.normal(scale=np.sqrt(0.5 + 1.0 / counts)))[:, None]
    early = EarlyInteractions(means, counts, np.eye(1))
    scales = Scales(np.array([[0.7]]), np.array([0.7]), np.array([1.0]))
    statistics = segment_statistics(early, np.eye(1), design, np.zeros(segments, dtype=np.int64), 1)
    closed = effects_given(statistics, scales)
    deviation = np.array([POPULATION_SCALE, 0.7, 0.7, 0.7])
    with pymc.Model() as model:
        effects = pymc.Normal("effects", sigma=deviation, shape=1 + segments, initval=np.zeros(1 + segments))
        noise = np.sqrt(0.7**2 + 1.0 / counts)
        pymc.Normal("means", mu=pymc.math.dot(design, effects), sigma=noise, observed=means[:, 0])
    draws = sampled(model, "effects")
    # Population and effects trade off; what a segment's user is expected to be like does not.
    found, expected = draws[:, :1] + draws[:, 1:], closed.mean[0, 0] + closed.mean[1:, 0]
    np.testing.assert_allclose(found.mean(axis=0), expected, atol=0.05)
    contrast = np.column_stack([np.ones(segments), np.eye(segments)])
    variance = np.diag(contrast @ closed.covariance[0] @ contrast.T)
    np.testing.assert_allclose(found.var(axis=0), variance, rtol=0.2)
