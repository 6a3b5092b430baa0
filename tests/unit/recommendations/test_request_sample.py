from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.recommendations.contracts.candidates import Candidates
from services.recommendations.evaluation.request_sample import FIRST_STEPS, sample_requests
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.reranking.relevance_order import RelevanceOrder
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset
from streamrec.training.splits import leave_last_out

ITEMS, USERS, STEPS = 40, 12, 9


@pytest.fixture(scope="module")
def dataset():
    rows = [
        (f"u{user:02d}", f"i{(3 * user + step) % ITEMS:02d}", step)
        for user in range(USERS)
        for step in range(STEPS)
    ]
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    interactions["timestamp"] = pd.to_datetime(interactions["timestamp"], unit="s", utc=True)
    interactions["rating"] = 5.0
    users = pd.DataFrame({"user_id": [f"u{user:02d}" for user in range(USERS)]})
    for column in SEGMENT_COLUMNS:
        users[column] = "somewhere"
    catalogue = Catalogue(
        item_ids=tuple(f"i{item:02d}" for item in range(ITEMS)),
        titles=("",) * ITEMS,
        creator_ids=("c",) * ITEMS,
        creator_languages=("en",) * ITEMS,
        topics=((),) * ITEMS,
        published_at=np.full(ITEMS, np.datetime64("NaT"), dtype="datetime64[s]"),
    )
    return Dataset(Path(), catalogue, interactions.sort_values("timestamp", kind="stable"), users)


class EverythingUnseen:
    """Finds everything that a user has not seen, in the order of the catalogue; ranks it backwards."""

    def retrieve(self, user, count, rng=None):
        assert rng is None or isinstance(rng, np.random.Generator)
        found = [f"i{item:02d}" for item in range(ITEMS) if f"i{item:02d}" not in user.history][:count]
        return Candidates.from_scores(tuple(found), -np.arange(float(len(found))))

    def rank(self, user, candidates):
        assert user.history, "nobody is ranked without any history"
        return Candidates.from_scores(candidates.item_ids, np.arange(float(len(candidates))))


@pytest.fixture(scope="module")
def models():
    model = EverythingUnseen()
    return LocalModels(model, model, model, RelevanceOrder(), {"retrieval": 1, "cold_start": 1, "ranking": 1})


def sample(dataset, models, **changed):
    wanted = {"users": USERS, "new_user_share": 0.3, "under_test": False, **changed}
    return sample_requests(dataset, leave_last_out(dataset), models, progress=SilentProgress(), **wanted)


@pytest.mark.parametrize(("under_test", "held_out_step"), [(False, STEPS - 2), (True, STEPS - 1)])
def test_known_users_are_asked_for_as_of_the_item_that_is_held_out(
    dataset, models, under_test, held_out_step
):
    found = sample(dataset, models, under_test=under_test)
    known = [row for row, is_shortened in enumerate(found.is_shortened) if not is_shortened]
    assert len(known) == USERS
    for row in known:
        user, candidates = found.ranked[row]
        number = int(user.user_id[1:])
        assert user.segment.language == "somewhere"
        assert len(user.history) == held_out_step
        assert found.held_out[row] == f"i{(3 * number + held_out_step) % ITEMS:02d}"
        assert not set(user.history) & set(candidates.item_ids)
        assert candidates.item_ids == tuple(sorted(candidates.item_ids, reverse=True))


def test_first_steps_stand_for_the_share_of_new_users(dataset, models):
    found = sample(dataset, models)
    new = [row for row, is_shortened in enumerate(found.is_shortened) if is_shortened]
    assert [len(found.ranked[row][0].history) for row in new] == [0, 1, 2, 3, 4, 0]
    assert sum(found.weights[row] for row in new) == pytest.approx(0.3)
    assert sum(found.weights) == pytest.approx(1.0)
    for row in new:
        user = found.ranked[row][0]
        assert len(user.history) < FIRST_STEPS
        assert found.held_out[row] == f"i{(3 * int(user.user_id[1:]) + len(user.history)) % ITEMS:02d}"


def test_users_are_spread_evenly_and_new_ones_can_be_left_out(dataset, models):
    found = sample(dataset, models, users=4, new_user_share=0.0)
    assert [user.user_id for user, _ in found.ranked] == ["u00", "u03", "u07", "u11"]
    assert found.weights == pytest.approx([0.25] * 4)
    assert not any(found.is_shortened)
    assert len(sample(dataset, models, users=10_000).ranked) == USERS + USERS // 2
