"""A small world, and models made by hand that know its items."""

from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.cold_start.canonical_basis import CanonicalBasis
from services.recommendations.cold_start.model import Blend, ColdStartModel
from services.recommendations.cold_start.popularity import LanguagePopularity
from services.recommendations.cold_start.predictive import gaussian_widths
from services.recommendations.cold_start.prior import SegmentPrior
from services.recommendations.cold_start.segments import SegmentDesign
from services.recommendations.contracts.candidates import Candidates
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.retrieval.content import ContentVocabulary
from services.recommendations.retrieval.model import SEGMENT_ATTRIBUTES, TwoTowerRetriever, TwoTowerWeights
from services.recommendations.world.closed_loop import observable_catalogue
from services.recommendations.world.settings import WorldSettings

SETTINGS = WorldSettings(users=40, items=300, seed=205)
DIMENSION = 6


class RanksByName:
    """Scores that depend on item and history alone, as a ranker's must."""

    def rank(self, user, candidates):
        scores = [
            hash((int(item[-4:]) * 7919 + 31 * len(user.history)) % 1009) for item in candidates.item_ids
        ]
        return Candidates.from_scores(candidates.item_ids, np.array(scores, dtype=np.float32) / 200.0)


class RotatesTheSlate:
    """Shows the last item of the slate first."""

    def rerank(self, candidates, _user, _current_latency_ms, *, slate_length):
        order = np.arange(len(candidates))
        order[:slate_length] = np.roll(order[:slate_length], 1)
        scores = np.minimum.accumulate(candidates.scores[order])
        return Candidates(tuple(candidates.item_ids[row] for row in order), scores)


def cold_start(index: ItemIndex) -> ColdStartModel:
    rng = np.random.default_rng(1)
    items = len(index)
    design = SegmentDesign(((), ("de", "en", "es"), (), ()))
    prior = SegmentPrior(
        design=design,
        population_mean=np.zeros(DIMENSION),
        between_variance=np.full(DIMENSION, 0.7),
        effect_mean=rng.normal(scale=0.4, size=(design.width, 3)),
        effect_covariance=np.zeros((3, design.width, design.width)),
        spread_variance=np.zeros((4, 3)),
    )
    languages = ["en" if item % 2 else "es" for item in range(items)] * 4
    popularity = LanguagePopularity.from_interactions(
        np.tile(np.arange(items), 4),
        languages,
        items,
        pseudo_interactions=10.0,
        minimum_interactions=10,
        maximum_languages=4,
    )
    return ColdStartModel(
        index,
        CanonicalBasis(np.eye(DIMENSION), np.eye(DIMENSION), np.zeros(DIMENSION), np.full(DIMENSION, 0.7)),
        prior,
        popularity,
        Blend(0.3, 0.8, 1.0, 0.5),
        gaussian_widths(DIMENSION),
    )


def retrieval(index: ItemIndex) -> TwoTowerRetriever:
    rng = np.random.default_rng(2)
    weights = TwoTowerWeights(
        recency=np.geomspace(1.0, 0.1, 8, dtype=np.float32)[None, :],
        heads=np.eye(DIMENSION, dtype=np.float32)[None],
        bias=rng.normal(scale=0.2, size=DIMENSION).astype(np.float32),
        segments={name: np.zeros((0, DIMENSION), dtype=np.float32) for name in SEGMENT_ATTRIBUTES},
        segment_values=dict.fromkeys(SEGMENT_ATTRIBUTES, ()),
        content=np.zeros((1, DIMENSION), dtype=np.float32),
        vocabulary=ContentVocabulary(()),
    )
    return TwoTowerRetriever(weights, index)


@pytest.fixture(scope="session")
def models() -> LocalModels:
    item_ids = observable_catalogue(SETTINGS).item_ids
    vectors = np.random.default_rng(0).normal(size=(len(item_ids), DIMENSION)).astype(np.float32)
    index = ItemIndex.build(item_ids, vectors)
    return LocalModels(
        retrieval(index),
        cold_start(index),
        RanksByName(),
        RotatesTheSlate(),
        dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 3),
    )
