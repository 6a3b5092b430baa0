"""New users stay: the pipeline against the old policy in the closed loop, in a world not tuned on.

The short form: a small world, few users, and retrieval in the place of the ranker. The long one, with every
stage as it serves, is `tests/scenarios/test_new_user_churn.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from services.recommendations.cold_start import train as cold_start_training
from services.recommendations.cold_start.artifact import NOMINAL_COVERAGES
from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.cold_start.train import ColdStartSettings
from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.evaluation.closed_loop_arms import OLD, PIPELINE, ArmResult, run_arms
from services.recommendations.evaluation.closed_loop_policy import PolicyModels
from services.recommendations.reranking.relevance_order import RelevanceOrder
from services.recommendations.retrieval import train as retrieval_training
from services.recommendations.retrieval.model import TwoTowerRetriever
from services.recommendations.retrieval.settings import RetrievalSettings
from services.recommendations.training.input import TrainingInput
from services.recommendations.world.generate import generate_world
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset
from streamrec.training.splits import leave_last_out

WORLD = WorldSettings(users=1_500, items=3_000, seed=210)
NEW_USERS = 1_000

pytestmark = pytest.mark.slow


class RanksLikeRetrieval:
    """The two-tower's cosine over a temperature: log probabilities up to a constant, as a ranker's scores
    are."""

    TEMPERATURE = 0.1

    def __init__(self, retrieval: TwoTowerRetriever) -> None:
        self._retrieval = retrieval

    def rank(self, user: UserState, candidates: Candidates) -> Candidates:
        index = self._retrieval.index
        rows = [index.row_of[item_id] for item_id in candidates.item_ids]
        scores = index.vectors[rows] @ self._retrieval.user_vector(user) / self.TEMPERATURE
        return Candidates.from_scores(candidates.item_ids, scores)


@dataclass(frozen=True)
class Outcome:
    """What training said of the cold-start model, and what the arms did."""

    metrics: dict[str, float]
    arms: dict[str, ArmResult]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder: Path = tmp_path_factory.mktemp("world")
    generate_world(WORLD, folder / "data", SilentProgress())
    dataset = load_dataset(folder / "data")
    training = TrainingInput(dataset, leave_last_out(dataset), 3, SilentProgress())
    retrieval_training.train(training, RetrievalSettings(dimension=32, epoch_count=2), folder / "retrieval")
    retrieval = TwoTowerRetriever.load(folder / "retrieval")
    settings = ColdStartSettings(hierarchy_dimensions=5, tune=300, draws=500, assessed_users=600)
    spec = cold_start_training.train(
        training, settings, folder / "cold-start", index=retrieval.index, retrieval=None
    )
    cold_start = ColdStartModel.load(folder / "cold-start", retrieval.index)
    models = PolicyModels(cold_start, 1, retrieval, RanksLikeRetrieval(retrieval), RelevanceOrder())
    arms = run_arms(WORLD, dataset, models, NEW_USERS, SilentProgress(), names=[OLD, PIPELINE])
    return Outcome(dict(spec.metrics), arms)


def test_fewer_new_users_leave_than_under_the_old_policy(outcome: Outcome):
    difference = outcome.arms[PIPELINE].churn_against_old
    assert difference is not None
    assert difference.high < 0.0


def test_pages_satisfy_more_than_those_of_the_old_policy(outcome: Outcome):
    served, old = (outcome.arms[name].satisfaction_per_page for name in (PIPELINE, OLD))
    assert served.low > 1.25 * old.high


def test_short_histories_find_more_than_popularity_in_the_segment(outcome: Outcome):
    metrics = outcome.metrics
    assert metrics["ndcg@10"] > 1.15 * metrics["ndcg@10_popularity_per_segment"]
    # Every click helps at first; without one nobody is worse off than with popularity by much.
    assert metrics["ndcg@10_history_1"] > 1.15 * metrics["ndcg@10_history_0"]


def test_predictive_intervals_cover_what_they_claim(outcome: Outcome):
    found = np.array([outcome.metrics[f"coverage_{100.0 * nominal:.0f}"] for nominal in NOMINAL_COVERAGES])
    assert np.abs(found - NOMINAL_COVERAGES).max() < 0.05
    assert 0.87 <= outcome.metrics["coverage_90"] <= 0.93


def test_the_posterior_was_sampled_well(outcome: Outcome):
    assert outcome.metrics["divergences"] == 0.0
    assert outcome.metrics["maximum_r_hat"] <= 1.01
    assert outcome.metrics["minimum_effective_samples"] >= 400.0
