from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.recommendations.cold_start.satisfaction import (
    MAXIMUM_PSEUDO_INTERACTIONS,
    ItemSatisfaction,
    satisfaction_of,
)
from services.recommendations.contracts.candidates import Segment, UserState
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset, users_frame
from streamrec.training.splits import leave_last_out

ITEMS = 4


def graded(within_deviation, between_deviation, *, items=400, per_item=12, seed=0):
    rng = np.random.default_rng(seed)
    truth = 0.5 + between_deviation * rng.standard_normal(items)
    rows = np.repeat(np.arange(items), rng.integers(1, 2 * per_item, items))
    return truth, rows, truth[rows] + within_deviation * rng.standard_normal(len(rows))


def test_the_weight_of_the_mean_is_the_ratio_of_the_variances():
    truth, rows, grades = graded(0.12, 0.05)
    found = ItemSatisfaction.from_grades(rows, grades, len(truth))
    assert found.pseudo_interactions == pytest.approx((0.12 / 0.05) ** 2, rel=0.25)


def test_shrunken_means_are_nearer_to_the_truth_than_plain_ones():
    truth, rows, grades = graded(0.12, 0.05)
    found = ItemSatisfaction.from_grades(rows, grades, len(truth))
    plain = np.bincount(rows, grades) / np.bincount(rows)
    shrunken = np.exp(found.log_satisfaction) * grades.mean()
    assert ((shrunken - truth) ** 2).mean() < 0.6 * ((plain - truth) ** 2).mean()


def test_items_that_do_not_differ_are_shrunk_all_the_way():
    _, rows, grades = graded(0.12, 0.0, seed=3)
    found = ItemSatisfaction.from_grades(rows, grades, 400)
    assert found.pseudo_interactions > 100.0
    assert np.abs(found.log_satisfaction).max() < 0.1


def test_an_item_without_interactions_is_neutral_and_so_is_data_that_does_not_tell():
    found = ItemSatisfaction.from_grades(np.array([0, 0, 1, 1]), np.array([0.9, 0.8, 0.1, 0.2]), ITEMS)
    assert found.log_satisfaction[2:].tolist() == [0.0, 0.0]
    assert found.log_satisfaction[0] > 0.0 > found.log_satisfaction[1]
    same = ItemSatisfaction.from_grades(np.array([0, 1]), np.array([0.5, 0.5]), ITEMS)
    nothing = ItemSatisfaction.from_grades(np.empty(0, dtype=np.int64), np.empty(0), ITEMS)
    assert not same.log_satisfaction.any()
    assert not nothing.log_satisfaction.any()


def test_one_interaction_an_item_does_not_tell_the_variances_apart():
    found = ItemSatisfaction.from_grades(np.arange(3), np.array([0.1, 0.5, 0.9]), 3)
    assert found.pseudo_interactions == MAXIMUM_PSEUDO_INTERACTIONS


def a_dataset(**columns):
    catalogue = Catalogue(
        item_ids=tuple(f"i{row}" for row in range(ITEMS)),
        titles=("",) * ITEMS,
        creator_ids=("c",) * ITEMS,
        creator_languages=("en",) * ITEMS,
        topics=((),) * ITEMS,
        published_at=np.full(ITEMS, "NaT", dtype="datetime64[s]"),
    )
    # Two users in turn; the last two of each are held out.
    rows = [("b", 0), ("a", 1), ("b", 1), ("a", 0), ("b", 2), ("a", 2), ("b", 3), ("a", 3)]
    interactions = pd.DataFrame(
        {
            "user_id": [user for user, _ in rows],
            "item_id": [f"i{item}" for _, item in rows],
            "timestamp": pd.to_datetime(np.arange(len(rows)), unit="s", utc=True),
            **columns,
        }
    )
    return Dataset(Path(), catalogue, interactions, users_frame(pd.DataFrame({"user_id": []}), interactions))


def estimated(dataset):
    return satisfaction_of(dataset, leave_last_out(dataset).train, np.arange(ITEMS), ITEMS)


def test_held_out_interactions_teach_nothing():
    kinds = ["complete", "click", "click", "complete", "complete", "complete", "click", "click"]
    found = estimated(a_dataset(event=kinds))
    assert found.log_satisfaction[0] > 0.0 > found.log_satisfaction[1]
    assert found.log_satisfaction[2:].tolist() == [0.0, 0.0]


def test_ratings_stand_in_where_there_are_no_events():
    found = estimated(a_dataset(rating=[5.0, 1.0, 2.0, 4.5, 1.0, 1.0, 3.0, 3.0]))
    assert found.log_satisfaction[0] > 0.0 > found.log_satisfaction[1]


@pytest.mark.parametrize("columns", [{}, {"rating": [3.0] * 8}, {"rating": [np.nan] * 8}])
def test_data_without_either_is_neutral(columns):
    assert not estimated(a_dataset(**columns)).log_satisfaction.any()


def test_satisfaction_moves_items_up_as_much_as_its_weight_says(model):
    user = UserState("u", Segment(language="fi"))
    plain = replace(model, blend=replace(model.blend, exploration=0.0))
    weighted = replace(plain, blend=replace(plain.blend, satisfaction_weight=1.0))
    before, after = (
        dict(zip(answer.item_ids, answer.scores.tolist(), strict=True))
        for answer in (each.retrieve(user, 300, np.random.default_rng(0)) for each in (plain, weighted))
    )
    moved = [after[item] - before[item] for item in model.index.item_ids]
    np.testing.assert_allclose(moved, model.satisfaction.log_satisfaction, atol=1e-5)
