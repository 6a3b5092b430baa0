from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from services.recommendations.ranking.candidate_features import FEATURES, CandidateTables
from services.recommendations.ranking.combination import LOGITS, Combination
from services.recommendations.ranking.content import ContentTable
from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.network import SequenceNetwork
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.settings import (
    CombinationSettings,
    NetworkSettings,
    OptimisationSettings,
    RankingSettings,
)
from services.recommendations.ranking.train import train
from services.recommendations.ranking.validation import NetworkValidation
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.errors import DataFolderError, InvalidInputError
from streamrec.contracts.models import ModelSpec
from streamrec.training.baselines import Popularity
from streamrec.training.evaluation import evaluate
from streamrec.training.ranking_metrics import LIST_LENGTH, ndcg_at


def test_learns_an_order_that_popularity_cannot_know(
    trained: tuple[Path, ModelSpec], training: TrainingInput
):
    spec = trained[1]
    popular = evaluate(
        Popularity.fit(training.split.train, len(training.split.catalogue)), training.split, seed=0
    )
    assert spec.metrics["test_ndcg_at_10"] > 0.45
    assert spec.metrics["test_ndcg_at_10"] > 2.0 * popular.metrics["ndcg@10"].value


def test_the_same_seed_gives_the_same_model(
    trained: tuple[Path, ModelSpec], training: TrainingInput, settings: RankingSettings, tmp_path: Path
):
    torch.manual_seed(999)  # whatever others drew before must not matter
    again = train(training, settings, tmp_path)
    assert again.metrics == trained[1].metrics
    first, second = RankingModel.load(trained[0]), RankingModel.load(tmp_path)
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_leaves_torchs_global_generator_alone(
    training: TrainingInput, settings: RankingSettings, tmp_path: Path
):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    phase = replace(settings.optimisation.pools, maximum_epochs=1)
    short = replace(settings, optimisation=replace(settings.optimisation, pools=phase, joint=phase))
    train(training, short, tmp_path)
    assert torch.rand(1) == expected


def test_the_spec_says_what_was_trained_on_what(trained: tuple[Path, ModelSpec], training: TrainingInput):
    spec = trained[1]
    assert spec.name == "recommendations-ranking-teacher"
    assert spec.data_fingerprint == training.dataset.fingerprint
    assert set(spec.parameters["weights"]) == {*LOGITS, *FEATURES}
    assert {"validation_hit_at_10", "validation_ndcg_at_10", "test_hit_at_10", "test_ndcg_at_10"} <= set(
        spec.metrics
    )


def test_weights_come_from_train_items_alone(
    trained: tuple[Path, ModelSpec], training: TrainingInput, settings: RankingSettings, tmp_path: Path
):
    """Other test items, same model: nothing of them may reach the artifact."""
    split = training.split
    other = replace(split, test=np.roll(split.test, 1), history=split.train)
    train(replace(training, split=other), settings, tmp_path)
    first, second = RankingModel.load(trained[0]), RankingModel.load(tmp_path)
    np.testing.assert_array_equal(first.vectors, second.vectors)
    np.testing.assert_array_equal(first.combination.weights, second.combination.weights)
    np.testing.assert_array_equal(first.tables.popularity, second.tables.popularity)


def test_validation_ranks_as_the_ranker_does_without_features(training: TrainingInput):
    split, settings = training.split, RankingSettings(network=NetworkSettings(dimension=8, history_length=5))
    torch.manual_seed(8)
    network = SequenceNetwork(
        ContentTable.of(split.catalogue, 2), np.ones(60, dtype=np.int64), (0, 0, 0, 0), settings.network
    ).eval()
    torch.nn.init.eye_(network.encoder.transformer.output.weight)
    segments = np.zeros((len(split.train), 4), dtype=np.int64)
    tables = CandidateTables.fit(split.train, split.catalogue, settings.features)
    model = RankingModel.of(
        split.catalogue.item_ids,
        settings.network,
        network,
        SegmentTable(((), (), (), ())),
        tables,
        Combination.network_alone(len(FEATURES)),
    )
    validation = NetworkValidation.of(split, segments, settings, np.random.default_rng(0))
    ranked = evaluate(model, split, seed=0, on="validation")
    assert ranked.repeated_count == 0
    assert validation(network, True) == pytest.approx(ndcg_at(ranked.ranks, LIST_LENGTH).mean(), abs=1e-6)
    assert validation(network, True) != validation(network, False)


def test_a_missing_timestamp_is_refused_by_name(
    training: TrainingInput, settings: RankingSettings, tmp_path: Path
):
    frame = training.dataset.interactions.copy()
    frame.loc[3, "timestamp"] = pd.NaT
    damaged = replace(training, dataset=replace(training.dataset, interactions=frame))
    with pytest.raises(DataFolderError, match="column 'timestamp'"):
        train(damaged, settings, tmp_path)


def test_nobody_to_validate_on_is_refused(training: TrainingInput, settings: RankingSettings, tmp_path: Path):
    nobody = np.empty(0, dtype=np.int32)
    split = replace(training.split, evaluated=nobody, validation=nobody, test=nobody)
    with pytest.raises(InvalidInputError, match="validate"):
        train(replace(training, split=split), settings, tmp_path)


def with_pools(**changes: float) -> RankingSettings:
    phase = replace(OptimisationSettings().pools, **changes)
    return RankingSettings(optimisation=OptimisationSettings(pools=phase))


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: RankingSettings(network=NetworkSettings(dimension=30, head_count=4)), "network.dimension"),
        (lambda: RankingSettings(network=NetworkSettings(layer_count=0)), "network.layer_count"),
        (lambda: RankingSettings(network=NetworkSettings(dropout=1.0)), "network.dropout"),
        (lambda: RankingSettings(network=NetworkSettings(temperature=0.0)), "network.temperature"),
        (lambda: with_pools(learning_rate=0.0), "optimisation.pools.learning_rate"),
        (lambda: with_pools(interaction_budget=0), "optimisation.pools.interaction_budget"),
        (lambda: RankingSettings(optimisation=OptimisationSettings(history_dropout=1.0)), "history_dropout"),
        (lambda: with_pools(weight_decay=float("nan")), "optimisation.pools.weight_decay"),
        (lambda: RankingSettings(combination=CombinationSettings(l2=0.0)), "combination.l2"),
        (lambda: RankingSettings(combination=CombinationSettings(held_out_share=1.0)), "held_out_share"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(make, field):
    with pytest.raises(InvalidInputError, match=field):
        make()


def test_the_budget_bounds_what_is_looked_at_however_large_the_data():
    phase = replace(OptimisationSettings().pools, interaction_budget=1_000_000, maximum_epochs=10)
    assert [phase.total(count) for count in (0, 1_000, 100_000, 250_000, 10_000_000)] == [
        0,
        10_000,
        1_000_000,
        1_000_000,
        1_000_000,
    ]
