from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from services.recommendations.evaluation import closed_loop_arms
from services.recommendations.evaluation.closed_loop_arms import (
    BEST_KNOWN,
    GREEDY,
    LADDER,
    OLD,
    PIPELINE,
    run_arms,
)
from services.recommendations.evaluation.closed_loop_policy import PolicyModels
from services.recommendations.pipeline.pipeline import PipelineSettings
from services.recommendations.world.closed_loop import run_arm
from services.recommendations.world.generate import generate_world, read_settings
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.errors import DataFolderError, InvalidInputError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset
from streamrec.stats.intervals import normal_interval

SETTINGS = WorldSettings(users=40, items=300, seed=205)
SMALL = PipelineSettings(candidate_count=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    generate_world(SETTINGS, folder, SilentProgress())
    return folder


def test_arms_are_run_over_the_same_users_and_compared(models, folder):
    names = [OLD, GREEDY, PIPELINE, BEST_KNOWN]
    results = run_arms(
        SETTINGS,
        load_dataset(folder),
        PolicyModels.of(models),
        80,
        SilentProgress(),
        names=names,
        pipeline=SMALL,
    )
    assert list(results) == names
    assert all(result.summary.seven_day_churn.n == 80 for result in results.values())
    served, old = results[PIPELINE], results[OLD]
    difference = served.summary.seven_day_churn.value - old.summary.seven_day_churn.value
    assert served.churn_against_old.value == pytest.approx(difference)
    assert old.churn_against_old is None
    gap = results[BEST_KNOWN].satisfaction_per_page.value - served.satisfaction_per_page.value
    assert served.regret_per_page[BEST_KNOWN].value == pytest.approx(gap)
    assert set(results[GREEDY].regret_per_page) == {BEST_KNOWN}
    json.dumps({name: result.to_json() for name, result in results.items()}, allow_nan=False)


def test_who_knows_every_taste_satisfies_more(models, folder):
    results = run_arms(
        SETTINGS,
        load_dataset(folder),
        PolicyModels.of(models),
        300,
        SilentProgress(),
        names=[OLD, BEST_KNOWN],
    )
    assert results[OLD].regret_per_page[BEST_KNOWN].low > 0.0


def test_the_interval_of_a_page_is_that_of_the_bootstrap_over_users(folder):
    policy = closed_loop_arms.old_policy(SETTINGS, load_dataset(folder))
    run, _ = run_arm(SETTINGS, policy, 400, SilentProgress())
    interval = normal_interval(*closed_loop_arms._linearised(run))
    rng = np.random.default_rng(0)
    drawn = rng.integers(400, size=(4000, 400))
    ratios = run.satisfaction[drawn].sum(axis=1) / run.pages[drawn].sum(axis=1)
    assert interval.value == pytest.approx(run.satisfaction.sum() / run.pages.sum())
    assert interval.low == pytest.approx(
        np.quantile(ratios, 0.025), abs=0.15 * (interval.high - interval.low)
    )
    assert interval.high == pytest.approx(
        np.quantile(ratios, 0.975), abs=0.15 * (interval.high - interval.low)
    )


def test_each_arm_adds_one_ingredient():
    assert LADDER[-1].blend == {}
    assert LADDER[-1].handed_over
    assert LADDER[-1].reranked
    for before, after in pairwise(LADDER):
        removed = set(before.blend) - set(after.blend)
        changed = (
            len(removed) + (before.handed_over != after.handed_over) + (before.reranked != after.reranked)
        )
        assert changed == 1


def test_an_arm_that_does_not_exist_is_refused(models, folder):
    with pytest.raises(InvalidInputError, match="hope"):
        run_arms(
            SETTINGS, load_dataset(folder), PolicyModels.of(models), 10, SilentProgress(), names=["hope"]
        )


def test_a_folder_says_which_world_it_holds(folder, tmp_path):
    assert read_settings(folder) == SETTINGS
    assert read_settings(folder) != replace(SETTINGS, seed=1)
    with pytest.raises(DataFolderError, match="which world"):
        read_settings(tmp_path)
    (tmp_path / "world.json").write_text('{"settings": {"users": -1, "items": 300, "seed": 1, "days": 30}}')
    with pytest.raises(DataFolderError, match="users"):
        read_settings(tmp_path)
