from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.cold_start.canonical_basis import CanonicalBasis
from services.recommendations.cold_start.model import Blend, ColdStartModel
from services.recommendations.cold_start.popularity import LanguagePopularity
from services.recommendations.cold_start.predictive import gaussian_widths
from services.recommendations.cold_start.prior import SegmentPrior
from services.recommendations.cold_start.segments import SegmentDesign
from services.recommendations.item_index.index import ItemIndex

DIMENSION, ITEMS = 6, 300


@pytest.fixture(scope="session")
def model() -> ColdStartModel:
    """A model made by hand: Finnish users lie elsewhere than the population, along the first coordinate."""
    rng = np.random.default_rng(11)
    mixing = rng.normal(size=(DIMENSION, DIMENSION)) + 2.0 * np.eye(DIMENSION)
    variance = np.geomspace(2.0, 0.2, DIMENSION)
    basis = CanonicalBasis(mixing, np.linalg.inv(mixing), np.zeros(DIMENSION), variance)
    covariance = np.zeros((2, 3, 3))
    covariance[:, 1, 1] = covariance[:, 2, 2] = 0.05
    spread = np.zeros((4, 2))
    spread[1] = [0.8, 0.1]
    prior = SegmentPrior(
        design=SegmentDesign(((), ("en", "fi"), (), ())),
        population_mean=np.zeros(DIMENSION),
        between_variance=variance,
        effect_mean=np.array([[0.0, 0.0], [-0.5, 0.0], [1.5, 0.2]]),
        effect_covariance=covariance,
        spread_variance=spread,
    )
    index = ItemIndex.build(
        tuple(f"item-{row}" for row in range(ITEMS)), rng.normal(size=(ITEMS, DIMENSION)).astype(np.float32)
    )
    items = (ITEMS * rng.power(0.3, size=4000)).astype(np.int64)
    languages = ["fi" if item % 3 == 0 else "en" for item in items]
    popularity = LanguagePopularity.from_interactions(
        items,
        languages,
        ITEMS,
        pseudo_interactions=100.0,
        minimum_interactions=100,
        maximum_languages=8,
    )
    blend = Blend(0.2, 0.5, 1.0, 0.3)
    return ColdStartModel(index, basis, prior, popularity, blend, gaussian_widths(DIMENSION))
