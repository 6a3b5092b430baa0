from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.recommendations.contracts.candidates import Candidates
from services.recommendations.jobs.hand_over import HISTORY_LENGTHS, HandOverCurve, hand_over_curve
from services.recommendations.pipeline.local_stages import LocalModels
from streamrec.contracts.errors import InvalidInputError
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset, users_frame
from streamrec.training.splits import leave_last_out

ITEMS, USERS, LENGTH = 60, 12, 12
VERSIONS = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 1)


def a_dataset():
    """User u takes up items u, u + 1, ...: the next item is known to whoever sees the last one."""
    catalogue = Catalogue(
        item_ids=tuple(f"i{row:02d}" for row in range(ITEMS)),
        titles=("",) * ITEMS,
        creator_ids=("c",) * ITEMS,
        creator_languages=("en",) * ITEMS,
        topics=((),) * ITEMS,
        published_at=np.full(ITEMS, "NaT", dtype="datetime64[s]"),
    )
    rows = [(f"u{user:02d}", f"i{user + step:02d}", step) for step in range(LENGTH) for user in range(USERS)]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    interactions["timestamp"] = pd.to_datetime(interactions["timestamp"], unit="s", utc=True)
    return Dataset(Path(), catalogue, interactions, users_frame(pd.DataFrame({"user_id": []}), interactions))


class Knows:
    """Puts the item after the last one first; the others follow far behind."""

    def retrieve(self, user, count, _rng=None):
        wanted = f"i{int(user.history[-1][1:]) + 1:02d}"
        return self._with_first(wanted, user, count)

    def rank(self, user, candidates):
        wanted = f"i{int(user.history[-1][1:]) + 1:02d}"
        scores = np.array([5.0 * (item == wanted) for item in candidates.item_ids])
        return Candidates.from_scores(candidates.item_ids, scores)

    def _with_first(self, wanted, user, count):
        others = [f"i{row:02d}" for row in range(ITEMS) if f"i{row:02d}" not in (*user.history, wanted)]
        ids = (wanted, *others)[:count]
        scores = np.linspace(5.0, 0.0, len(ids), dtype=np.float32)
        scores[0] = 80.0
        return Candidates(ids, scores)


class Misleads(Knows):
    """Sure of the items that nobody takes up next."""

    def retrieve(self, user, count, _rng=None):
        return self._with_first("i59", user, count)

    def rank(self, _user, candidates):
        scores = np.array([float(item[1:]) for item in candidates.item_ids])
        return Candidates.from_scores(candidates.item_ids, scores)


def curve(cold, known):
    dataset = a_dataset()
    models = LocalModels(known, cold, known, None, VERSIONS)
    return hand_over_curve(models, dataset, leave_last_out(dataset), users=8, kappas=(0.1, 1.0, 50.0))


def test_where_the_ranker_knows_cold_start_hands_over_at_once():
    found = curve(Misleads(), Knows())
    assert found.best == 0.1
    assert found.mean[0] > found.mean[2]


def test_where_cold_start_knows_it_keeps_the_say():
    found = curve(Knows(), Misleads())
    assert found.best == 50.0
    assert found.mean[2] == pytest.approx(1.0)


def test_histories_that_are_too_short_are_no_cases():
    found = curve(Knows(), Knows())
    expected = [8 if length <= LENGTH - 2 else 0 for length in HISTORY_LENGTHS]
    assert found.cases.tolist() == expected
    assert (found.mean == 1.0).all()


def test_the_largest_kappa_within_a_standard_error_is_chosen():
    ndcg = np.array([[0.20], [0.24], [0.23], [0.21]])
    errors = np.full(4, 0.015)
    found = HandOverCurve((0.5, 1.0, 2.0, 4.0), (1,), ndcg, errors, np.array([50]))
    assert found.best == 1.0
    assert found.chosen == 2.0


def test_nobody_to_measure_on_is_an_error():
    dataset = a_dataset()
    alone = Dataset(Path(), dataset.catalogue, dataset.interactions.head(2), dataset.users)
    with pytest.raises(InvalidInputError, match="users"):
        hand_over_curve(
            LocalModels(Knows(), Knows(), Knows(), None, VERSIONS), alone, leave_last_out(alone), users=3
        )
