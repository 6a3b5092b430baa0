"""What is shown drives churn: whoever knows the truth keeps more new users, whoever guesses keeps fewer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.recommendations.world.closed_loop import observable_catalogue, run_arm
from services.recommendations.world.generate import generate_world
from services.recommendations.world.policies import (
    DayLog,
    Observation,
    Policy,
    PopularityThenRelevance,
)
from services.recommendations.world.settings import RetentionSettings, WorldSettings
from services.recommendations.world.summary import RunSummary
from services.recommendations.world.world import build_world, draw_cohort
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset
from streamrec.training.splits import user_sequences

SETTINGS = WorldSettings(users=2_000, items=3_000, seed=201)
NEW_USERS = 4_000

pytestmark = pytest.mark.slow


class Scored:
    """Shows the best unseen items by a fixed score of every user and item."""

    def __init__(self, scores: np.ndarray) -> None:
        self._scores = scores

    def recommend(self, observation: Observation, count: int, rng: np.random.Generator) -> np.ndarray:
        del rng
        best = self._scores[observation.users]
        rows = np.arange(len(best))[:, None]
        for blocked in (observation.histories, observation.shown):
            hidden = np.where(blocked >= 0, blocked, best.shape[1])
            best = np.column_stack([best, np.zeros(len(best))])
            best[rows, hidden] = -np.inf
            best = best[:, :-1]
        top = np.argpartition(-best, count, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(best, top, axis=1), axis=1)
        return np.take_along_axis(top, order, axis=1).astype(np.int32)

    def end_of_day(self, day: DayLog) -> None:
        del day


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Policy]:
    folder: Path = tmp_path_factory.mktemp("world")
    generate_world(SETTINGS, folder, SilentProgress())
    log = user_sequences(load_dataset(folder))
    catalogue = observable_catalogue(SETTINGS)
    world = build_world(SETTINGS)
    _, truth = draw_cohort(world, NEW_USERS, "arm")
    match = SETTINGS.behaviour.taste_weight * (truth.tastes @ world.items.vectors.T)
    match += truth.language_logits[:, world.catalogue.languages]
    rng = np.random.default_rng(0)
    return {
        "old": PopularityThenRelevance.after_log(catalogue, log.items, log.timestamps, SETTINGS.end_seconds),
        "oracle": Scored(match + world.items.appeal + world.items.quality),
        "random": Scored(rng.random(match.shape, dtype=np.float32)),
    }


@pytest.fixture(scope="module")
def arms(policies: dict[str, Policy]) -> dict[str, RunSummary]:
    return {
        name: run_arm(SETTINGS, policy, NEW_USERS, SilentProgress())[1] for name, policy in policies.items()
    }


def test_knowing_the_truth_lowers_churn_and_guessing_raises_it(arms: dict[str, RunSummary]):
    churn = {name: arm.seven_day_churn for name, arm in arms.items()}
    assert all(interval.n == NEW_USERS for interval in churn.values())
    assert churn["oracle"].high < churn["old"].low
    assert churn["old"].high < churn["random"].low


def test_no_policy_removes_the_base_rate(arms: dict[str, RunSummary]):
    assert arms["oracle"].seven_day_churn.low > RetentionSettings().leave_floor


def test_satisfaction_shows_in_clicks_too(arms: dict[str, RunSummary]):
    assert arms["random"].click_rate < arms["old"].click_rate < arms["oracle"].click_rate


def test_where_satisfaction_has_no_effect_the_truth_does_not_help(policies: dict[str, Policy]):
    indifferent = WorldSettings(
        users=SETTINGS.users,
        items=SETTINGS.items,
        seed=SETTINGS.seed,
        retention=RetentionSettings(leave_range=0.0, return_slope=0.0, return_base=1.0),
    )
    oracle, guess = (
        run_arm(indifferent, policies[name], NEW_USERS, SilentProgress())[1].seven_day_churn
        for name in ("oracle", "random")
    )
    assert abs(oracle.value - guess.value) < 0.03
