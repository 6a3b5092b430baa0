from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.recommendations.cold_start.batch import CHUNK_USERS, ColdStartBatch, top_columns
from services.recommendations.contracts.candidates import Segment, UserState
from streamrec.stats.random_state import generator_for


def cases(model, users):
    rng = np.random.default_rng(3)
    histories = np.full((users, 6), -1, dtype=np.int32)
    for row in histories:
        length = rng.integers(7)
        row[:length] = rng.choice(len(model.index), size=length, replace=False)
    languages = rng.choice(["fi", "en", "unknown", "never seen"], size=users)
    return histories, [Segment(language=str(language)) for language in languages]


@pytest.mark.parametrize("exploration", [0.0, 0.6])
@pytest.mark.parametrize("count", [1, 10, 120])
def test_many_users_at_once_get_the_answers_that_each_gets_alone(model, exploration, count):
    model = replace(model, blend=replace(model.blend, exploration=exploration))
    histories, segments = cases(model, users := CHUNK_USERS + 20)
    rngs = [generator_for(str(user)) for user in range(users)]
    rows, scores = ColdStartBatch(model).retrieve(segments, histories, count, rngs)
    for user in range(users):
        known = histories[user][histories[user] >= 0]
        history = tuple(model.index.item_ids[row] for row in known)
        state = UserState(str(user), segments[user], history)
        alone = model.retrieve(state, count, generator_for(str(user)))
        assert tuple(model.index.item_ids[row] for row in rows[user]) == alone.item_ids
        np.testing.assert_allclose(scores[user], alone.scores, atol=1e-4)


def test_a_user_who_has_seen_nearly_everything_gets_what_is_left(model):
    items = len(model.index)
    history = np.arange(items - 3)[None, :]
    rows, scores = ColdStartBatch(model).retrieve([Segment()], history, 10, [np.random.default_rng(0)])
    assert set(rows[0, :3].tolist()) == {items - 3, items - 2, items - 1}
    assert (rows[0, 3:] == -1).all()
    assert np.isneginf(scores[0, 3:]).all()


@pytest.mark.parametrize("count", [1, 3, 7, 8])
def test_equal_scores_are_taken_in_column_order_at_the_cut_too(count):
    scores = np.random.default_rng(0).integers(3, size=(200, 8)).astype(np.float32)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    assert top_columns(scores, count).tolist() == expected.tolist()
