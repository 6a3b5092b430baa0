"""Models with random weights: of the default sizes, written and read by the product, and answering."""

from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.item_index.settings import IndexKind, IndexSettings
from services.recommendations.load_tests.made_models import (
    index_settings,
    make_cold_starter,
    make_ranker,
    make_reranker,
    make_retriever,
)
from services.recommendations.load_tests.made_world import MadeWorld
from services.recommendations.load_tests.world_settings import WorldSettings
from services.recommendations.ranking.settings import NetworkSettings
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.ranking.student.settings import StudentNetworkSettings
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.retrieval.settings import RetrievalSettings
from streamrec.datasets.dataset import load_dataset

SETTINGS = WorldSettings(item_count=600, user_count=20, longest_history=40, median_history=20)


@pytest.fixture(scope="module")
def world():
    return MadeWorld.of(SETTINGS)


@pytest.fixture(scope="module")
def catalogue(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "made"
    world.write(folder)
    return load_dataset(folder).catalogue


@pytest.fixture
def user(world):
    offsets, items = world.histories()
    ids = world.item_ids()
    return UserState("u", Segment(language="de"), tuple(ids[row] for row in items[offsets[3] : offsets[4]]))


def test_retrieval_and_cold_start_read_back_find_as_many_as_asked(world, catalogue, user, tmp_path) -> None:
    made = make_retriever(world, catalogue)
    made.save(tmp_path / "retrieval")
    retriever = TwoTowerRetriever.load(tmp_path / "retrieval")
    assert retriever.index.dimension == RetrievalSettings().dimension
    found = retriever.retrieve(user, 100)
    assert found.item_ids == made.retrieve(user, 100).item_ids
    assert len(found) == 100
    assert not set(found.item_ids) & set(user.history)

    make_cold_starter(world, made.index).save(tmp_path / "cold_start")
    starter = ColdStartModel.load(tmp_path / "cold_start", retriever.index)
    drawn = starter.retrieve(UserState("new", Segment(language="de")), 100, np.random.default_rng(1))
    assert len(drawn) == 100
    assert starter.popularity.group("de") > 0
    identity = starter.basis.to_canonical @ starter.basis.from_canonical
    np.testing.assert_allclose(identity, np.eye(len(identity)), atol=1e-9)


def test_the_ranker_read_back_has_the_default_sizes_and_full_tables(world, catalogue, user, tmp_path) -> None:
    made = make_ranker(world, catalogue)
    made.save(tmp_path / "ranking")
    ranker = StudentRanker.load(tmp_path / "ranking")
    assert ranker.settings == StudentNetworkSettings()
    assert ranker.weights.outputs.shape == (SETTINGS.item_count, NetworkSettings().dimension)
    candidates = Candidates.from_scores(catalogue.item_ids[:100], np.zeros(100))
    ranked = ranker.rank(user, candidates)
    assert sorted(ranked.item_ids) == sorted(candidates.item_ids)
    assert np.isfinite(ranked.scores).all()
    assert len(np.unique(ranked.scores)) > 90
    most_popular = int(np.argmax(world.popularity))
    for rows in (ranker.features.transitions, ranker.features.co_visitation):
        lengths = np.diff(rows.starts)
        assert lengths[most_popular] > 2 * np.median(lengths) or lengths[most_popular] > 150
        assert lengths.mean() > 25


def test_the_re_ranker_read_back_prices_the_smallest_language_highest(catalogue, tmp_path) -> None:
    make_reranker(catalogue).save(tmp_path / "reranking")
    reranker = DiversityReranker.load(tmp_path / "reranking")
    counts = np.bincount(catalogue.language_codes)
    smallest, largest = catalogue.languages[counts.argmin()], catalogue.languages[counts.argmax()]
    assert reranker.exposure_prices[smallest] == max(reranker.exposure_prices.values())
    assert reranker.exposure_prices[largest] == 0.0


def test_up_to_some_hundred_thousand_items_the_index_is_the_products_default() -> None:
    assert index_settings(20_000) == index_settings(200_000) == IndexSettings()
    large = index_settings(2_000_000)
    assert large.kind is IndexKind.IVF_SQ8
    assert large.list_count == 4096
    assert large.probe_count == 128
