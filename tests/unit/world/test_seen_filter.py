from __future__ import annotations

import numpy as np

from services.recommendations.world.seen_filter import SeenFilter


def test_no_consumed_item_is_missed_and_few_others_are_named():
    rng = np.random.default_rng(0)
    users, per_user, items = 200, 50, 100_000
    consumed = rng.integers(items // 2, size=(users, per_user)).astype(np.int32)
    seen = SeenFilter(users)
    seen.add(np.repeat(np.arange(users), per_user), consumed.ravel())
    assert seen.contains(np.arange(users), consumed).all()
    others = rng.integers(items // 2, items, size=(users, 500)).astype(np.int32)
    assert seen.contains(np.arange(users), others).mean() < 0.006


def test_users_do_not_share_what_they_have_seen():
    seen = SeenFilter(2)
    seen.add(np.array([0, 0]), np.array([7, 7], dtype=np.int32))
    assert seen.contains(np.array([0, 1]), np.full((2, 1), 7, dtype=np.int32)).tolist() == [[True], [False]]
