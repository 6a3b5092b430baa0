"""The four models with seeded random weights at the sizes that training gives them by default.

What they answer means nothing; what they cost is what trained ones cost: the same arrays, of the same
shapes, in artifacts that the product's own writers wrote. Item vectors are clustered, as trained ones are, so
that the lists of an index hold what lists of real items hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.canonical_basis import CanonicalBasis
from services.recommendations.cold_start.model import Blend, ColdStartModel
from services.recommendations.cold_start.popularity import LanguagePopularity
from services.recommendations.cold_start.predictive import gaussian_widths
from services.recommendations.cold_start.prior import SegmentPrior
from services.recommendations.cold_start.segments import SegmentDesign
from services.recommendations.cold_start.train import ColdStartSettings
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.item_index.settings import IndexSettings
from services.recommendations.load_tests.made_tables import feature_tables
from services.recommendations.load_tests.made_world import (
    AGE_BANDS,
    COUNTRIES,
    LANGUAGES,
    SIGNUP_CHANNELS,
    MadeWorld,
)
from services.recommendations.ranking.segments import ATTRIBUTES, SegmentTable
from services.recommendations.ranking.settings import NetworkSettings
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.ranking.student.runtime import StudentWeights
from services.recommendations.ranking.student.settings import StudentNetworkSettings
from services.recommendations.reranking.calibration import Calibration, ListCalibration
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.retrieval.content import ContentVocabulary
from services.recommendations.retrieval.model import TwoTowerRetriever, TwoTowerWeights
from services.recommendations.retrieval.settings import RetrievalSettings
from streamrec.datasets.catalogue import Catalogue

SEGMENT_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "country": tuple(sorted(COUNTRIES)),
    "language": tuple(sorted(LANGUAGES)),
    "age_band": tuple(sorted(AGE_BANDS)),
    "signup_channel": tuple(sorted(SIGNUP_CHANNELS)),
}

_HALF_LIVES: Final = (math.inf, 15.0, 3.0)
_SEGMENT_SCALE: Final = 0.1
_CLUSTER_SCALE: Final = 1.0
"""Spread of the centres, relative to that of items around theirs."""
_MOST_COUNTED: Final = 1_000_000
_COUNTED_AN_ITEM: Final = 50
_LARGEST_PRICE: Final = 0.01
_CALIBRATION: Final = Calibration(
    (ListCalibration(1.2), ListCalibration(0.6, 0.3), ListCalibration(0.7, 0.4, 0.9))
)

Array = NDArray[np.float32]


def index_settings(item_count: int) -> IndexSettings:
    """How the product searches so many items: its defaults, up to some hundred thousand.

    Beyond, what 'streamrec recommendations index tune' tries too: four lists for each root of the number of
    items, of which one in 32 is looked into.
    """
    usual = IndexSettings()
    lists = 2 ** round(math.log2(4.0 * math.sqrt(item_count)))
    if lists <= 2 * usual.list_count:
        return usual
    return IndexSettings(list_count=lists, probe_count=lists // 32)


def make_retriever(world: MadeWorld, catalogue: Catalogue) -> TwoTowerRetriever:
    """Two towers of the default sizes over clustered item vectors."""
    settings = RetrievalSettings()
    rng = np.random.default_rng([world.settings.seed, 10])
    d, pools = settings.dimension, settings.pool_count
    centres = rng.normal(scale=_CLUSTER_SCALE, size=(world.cluster_count, d)).astype(np.float32)
    vectors = centres[world.clusters] + rng.standard_normal((len(catalogue), d), dtype=np.float32)
    vocabulary = ContentVocabulary.build(catalogue, settings.minimum_feature_count)
    content = rng.standard_normal((len(vocabulary.features) + 1, d), dtype=np.float32)
    content[0] = 0.0
    weights = TwoTowerWeights(
        recency=_by_recency(pools, settings.history_length),
        heads=np.repeat(np.eye(d, dtype=np.float32)[None], pools, axis=0) / np.float32(math.sqrt(pools)),
        bias=_normal(rng, (d,), _SEGMENT_SCALE),
        segments={
            name: _normal(rng, (len(values), d), _SEGMENT_SCALE) for name, values in SEGMENT_VALUES.items()
        },
        segment_values=SEGMENT_VALUES,
        content=content,
        vocabulary=vocabulary,
    )
    index = ItemIndex.build(catalogue.item_ids, vectors, index_settings(len(catalogue)))
    return TwoTowerRetriever(weights, index)


def make_cold_starter(world: MadeWorld, index: ItemIndex) -> ColdStartModel:
    """A Gaussian over the index's space with a segment hierarchy of the default sizes."""
    settings = ColdStartSettings()
    rng = np.random.default_rng([world.settings.seed, 11])
    d, k = index.dimension, min(settings.hierarchy_dimensions, index.dimension)
    mixing = np.asarray(np.linalg.qr(rng.normal(size=(d, d)))[0] * 5.0, dtype=np.float64)
    variance = np.geomspace(2.0, 0.1, d)
    basis = CanonicalBasis(mixing, mixing.T / 25.0, np.zeros(d), variance)
    design = SegmentDesign(tuple(SEGMENT_VALUES[name] for name in ATTRIBUTES))
    effects = rng.normal(scale=0.3, size=(design.width, k))
    prior = SegmentPrior(
        design,
        np.zeros(d),
        variance,
        effects,
        np.repeat(0.01 * np.eye(design.width)[None], k, axis=0),
        np.full((len(ATTRIBUTES), k), 0.05),
    )
    counted = min(_MOST_COUNTED, _COUNTED_AN_ITEM * len(index))
    users_languages = np.array(LANGUAGES)[rng.integers(len(LANGUAGES), size=counted)]
    popularity = LanguagePopularity.from_interactions(
        rng.choice(len(index), size=counted, p=world.popularity),
        users_languages.tolist(),
        len(index),
        pseudo_interactions=settings.pseudo_interactions,
        minimum_interactions=settings.minimum_language_interactions,
        maximum_languages=settings.maximum_languages,
    )
    blend = Blend(segment_weight=0.1, taste_weight=0.3, click_weight=1.0, exploration=settings.exploration)
    return ColdStartModel(index, basis, prior, popularity, blend, gaussian_widths(d))


def make_ranker(world: MadeWorld, catalogue: Catalogue) -> StudentRanker:
    """A student of the default sizes, with tables as full as a trained one's."""
    settings = StudentNetworkSettings()
    rng = np.random.default_rng([world.settings.seed, 12])
    n, d, size = len(catalogue), settings.dimension, NetworkSettings().dimension
    seen = (settings.newest_count + settings.pool_count) * d
    state = seen + d
    outputs = _normal(rng, (n, size), 1.0 / math.sqrt(size))
    segment_table = SegmentTable(tuple(SEGMENT_VALUES[name] for name in ATTRIBUTES))
    segments = tuple(_normal(rng, (values + 1, size), _SEGMENT_SCALE) for values in segment_table.sizes)
    for table in segments:
        table[0] = 0.0
    steps_back = np.arange(settings.history_length)
    weights = StudentWeights(
        inputs=_normal(rng, (n, d), 1.0 / math.sqrt(d)),
        keys=_normal(rng, (n, d), 1.0 / math.sqrt(d)),
        values=_normal(rng, (n, d), 1.0 / math.sqrt(d)),
        outputs=outputs,
        biases=_normal(rng, (n,), 1.0),
        pool_weights=_by_recency(settings.pool_count, settings.history_length),
        lag_biases=(-0.3 * np.arange(settings.head_count)[:, None] * np.log1p(steps_back)).astype(np.float32),
        query=_normal(rng, (d, seen), 1.0 / math.sqrt(seen)),
        query_bias=_normal(rng, (d,), 0.1),
        state=_normal(rng, (size + settings.hidden_size, state), 1.0 / math.sqrt(state)),
        direct_bias=_normal(rng, (size,), 0.1),
        hidden_bias=_normal(rng, (settings.hidden_size,), 0.1),
        contract=_normal(rng, (size, settings.hidden_size), 1.0 / math.sqrt(settings.hidden_size)),
        segments=segments,
    )
    return StudentRanker(
        catalogue.item_ids, settings, weights, segment_table, feature_tables(world, catalogue)
    )


def make_reranker(catalogue: Catalogue) -> DiversityReranker:
    """Prices as they are fitted: the smaller a language, the higher its price."""
    counts = np.bincount(catalogue.language_codes, minlength=len(catalogue.languages))
    largest_first = [catalogue.languages[code] for code in np.argsort(-counts, kind="stable").tolist()]
    prices = np.linspace(0.0, _LARGEST_PRICE, len(largest_first)).tolist()
    return DiversityReranker(
        language_of=dict(zip(catalogue.item_ids, catalogue.creator_languages, strict=True)),
        exposure_prices=dict(zip(largest_first, prices, strict=True)),
        calibration=_CALIBRATION,
    )


def _by_recency(pools: int, length: int) -> Array:
    """Shape (pools, length): weights by steps back, each pool with a half-life of its own."""
    half_lives = np.array([_HALF_LIVES[pool % len(_HALF_LIVES)] for pool in range(pools)])
    weights = np.power(0.5, np.arange(length)[None, :] / half_lives[:, None])
    recency: Array = np.maximum(weights, 1e-4).astype(np.float32)
    return recency


def _normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Array:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
