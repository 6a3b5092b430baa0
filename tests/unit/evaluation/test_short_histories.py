from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.evaluation.held_out_users import HeldOutUser
from services.recommendations.evaluation.short_histories import (
    measure_short_histories,
    popular_in_segments,
)
from streamrec.contracts.errors import InvalidInputError
from streamrec.datasets.catalogue import Catalogue
from streamrec.training.splits import UserHistories

ITEMS = 40
NAMES = tuple(f"i{item:02}" for item in range(ITEMS))
CATALOGUE = Catalogue(
    item_ids=NAMES,
    titles=NAMES,
    creator_ids=NAMES,
    creator_languages=("en",) * ITEMS,
    topics=((),) * ITEMS,
    published_at=np.full(ITEMS, "NaT", dtype="datetime64[s]"),
)
FINLAND, SPAIN = Segment(country="fi"), Segment(country="es")


def sequences(rows: list[list[int]]) -> UserHistories:
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    offsets = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    return UserHistories(tuple(f"u{row}" for row in range(len(rows))), offsets, items, np.arange(len(items)))


def user(number: int, history: list[int], target: int, segment: Segment = FINLAND) -> HeldOutUser:
    return HeldOutUser(
        UserState(f"u{number}", segment, tuple(NAMES[item] for item in history)), NAMES[target]
    )


def measure(answer, users, popular=None):
    popular = popular or {FINLAND: np.arange(ITEMS), SPAIN: np.arange(ITEMS)}
    return measure_short_histories(answer, users, CATALOGUE, popular, seed=1)


def test_a_history_is_cut_to_its_newest_and_everything_really_seen_is_filtered():
    asked = []

    def answer(state, count):
        asked.append(state.history)
        assert count == 10 + 3
        return NAMES[:count]  # the seen items 0, 1, 2 first, then 3

    found = measure(answer, [user(0, [0, 1, 2], target=3)])
    assert asked == [(), NAMES[2:3], NAMES[1:3], NAMES[0:3]]
    assert list(found.by_history_length) == [0, 1, 2, 3]
    assert found.overall.cases == 4
    # With what is seen filtered the target stands first, for the model and for popularity.
    assert found.overall.model.value == found.overall.popularity_per_segment.value == 1.0
    assert found.overall.gain.value == 0.0


def test_figures_are_those_of_each_length():
    def answer(state, _count):
        # Knows the target from the second interaction on.
        return NAMES[20:30] if len(state.history) >= 2 else NAMES[5:15]

    users = [user(number, [0, 1, 2, 3, 4], target=21) for number in range(3)]
    found = measure(answer, users)
    values = [found.by_history_length[length].model.value for length in range(6)]
    assert values == pytest.approx([0, 0, *[1 / np.log2(3)] * 4])
    assert found.overall.model.value == pytest.approx(4 / 6 / np.log2(3))
    assert found.overall.popularity_per_segment.value == 0.0
    assert found.overall.gain is None  # nothing to divide by
    assert found.to_json()["overall"]["gain"] is None


def test_the_overall_interval_is_over_users_and_not_over_cases():
    rng = np.random.default_rng(0)
    hit = rng.random(60) < 0.5

    def answer(state, _count):
        return [NAMES[30]] if hit[int(state.user_id[1:])] else []

    users = [user(number, [0, 1, 2, 3, 4], target=30) for number in range(60)]
    interval = measure(answer, users).overall.model
    assert interval.value == pytest.approx(hit.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(60), rel=0.2)


def test_popularity_is_that_of_the_segment_then_of_everybody():
    train = sequences([[5, 5, 6], [6, 7, 7, 7], [8, 8, 8, 8]])
    wanted = [user(0, [1], target=3), user(1, [], target=3, segment=SPAIN)]
    popular = popular_in_segments([FINLAND, FINLAND, SPAIN], train, ITEMS, wanted=wanted)
    # Finland: 7 (3), then 5 and 6 (2 each, tied among everybody too: lower row), then 8 from elsewhere.
    assert popular[FINLAND][:5].tolist() == [7, 5, 6, 8, 0]
    assert popular[SPAIN][:4].tolist() == [8, 7, 5, 6]
    assert (len(popular[FINLAND]), len(popular[SPAIN])) == (11, 10)


def test_a_segment_that_nobody_trained_in_falls_back_to_everybody():
    train = sequences([[5, 5, 6]])
    popular = popular_in_segments([FINLAND], train, ITEMS, wanted=[user(0, [], 1, Segment(country="se"))])
    assert popular[Segment(country="se")][:2].tolist() == [5, 6]


def test_without_users_there_is_no_figure():
    with pytest.raises(InvalidInputError, match="users"):
        measure(lambda _state, _count: [], [])
