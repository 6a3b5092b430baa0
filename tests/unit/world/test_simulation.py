from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.world.closed_loop import run_arm, run_window
from services.recommendations.world.policies import DayLog, Observation
from services.recommendations.world.settings import START_SECONDS, WorldSettings
from services.recommendations.world.simulation import VISIBLE_HISTORY_ITEMS, Run, Simulation, check_slate
from services.recommendations.world.world import Past, World, build_world
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.progress import SilentProgress

SETTINGS = WorldSettings(users=400, items=1_500, seed=9, days=10)


class FirstUnseen:
    """Shows the lowest rows that are new to the user, and keeps what it was asked."""

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self.days: list[DayLog] = []

    def recommend(self, observation: Observation, count: int, rng: np.random.Generator) -> np.ndarray:
        del rng
        self.observations.append(observation)
        rows = np.flatnonzero(observation.published)[:200].astype(np.int32)
        candidates = np.broadcast_to(rows, (len(observation.users), len(rows)))
        blocked = observation.seen.contains(observation.users, candidates)
        blocked |= (candidates[:, :, None] == observation.shown[:, None, :]).any(axis=2)
        order = np.argsort(blocked, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(candidates, order, axis=1)

    def end_of_day(self, day: DayLog) -> None:
        self.days.append(day)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(SETTINGS)


@pytest.fixture(scope="module")
def window(world: World) -> Run:
    return run_window(world, SilentProgress())[0]


def test_an_item_is_logged_once_per_user_and_never_before_it_is_out(world: World, window: Run):
    assert len(np.unique(window.users * len(world.catalogue) + window.items)) == len(window.items)
    assert (world.catalogue.published_at[window.items] <= window.seconds).all()


def test_the_log_is_in_order_inside_the_window_and_after_the_signup(world: World, window: Run):
    assert (np.diff(window.seconds) >= 0).all()
    assert window.seconds[0] >= START_SECONDS
    assert window.seconds[-1] < SETTINGS.end_seconds
    assert (window.seconds >= world.users.signed_up_at[window.users]).all()


def test_only_users_with_eight_days_ahead_are_followed(world: World, window: Run):
    signed_up_at = world.users.signed_up_at
    expected = (signed_up_at >= START_SECONDS) & (signed_up_at + 8 * 86_400 <= SETTINGS.end_seconds)
    assert (window.followed == expected).all()
    assert expected.any()
    late = (window.seconds - signed_up_at[window.users]) // 86_400
    back = np.unique(window.users[(late >= 1) & (late <= 7)])
    assert window.returned[back].all()


def test_a_history_is_what_the_log_says_in_its_order(world: World):
    policy = FirstUnseen()
    simulation = Simulation(
        world, world.users, world.user_truth, policy, np.random.default_rng(0), first_tick=0
    )
    run = simulation.run(12, SilentProgress(), "test")
    assert len(run.items) > 100
    last: dict[int, list[int]] = {}
    for observation in policy.observations:
        for row, user in enumerate(observation.users):
            history = observation.histories[row, : observation.lengths[row]].tolist()
            assert history[: len(last.get(user, []))] == last.get(user, [])
            last[user] = history
    for user, history in last.items():
        assert run.items[run.users == user].tolist()[: len(history)] == history
    assert [len(day.items) for day in policy.days] == [
        int(((run.seconds - START_SECONDS) // 86_400 == day).sum()) for day in range(3)
    ]


def test_a_long_history_keeps_its_newest_items(world: World):
    count = VISIBLE_HISTORY_ITEMS + 40
    past = Past(np.zeros(count, dtype=np.int64), np.arange(count, dtype=np.int32))
    policy = FirstUnseen()
    simulation = Simulation(world, world.users, world.user_truth, policy, np.random.default_rng(0), past=past)
    simulation.run(24, SilentProgress(), "test")
    found = [o.histories[o.users == 0][0] for o in policy.observations if 0 in o.users]
    assert found
    assert found[0][-1] >= count - 1
    assert len(found[0]) == VISIBLE_HISTORY_ITEMS
    assert 0 not in found[0]


@pytest.mark.parametrize(
    ("slate", "words"),
    [
        ([[0, 1, 2]], "shape"),
        ([[0, 5]], "outside"),
        ([[-2, 1]], "outside"),
        ([[1, 1]], "twice"),
        ([[0, 3]], "before it is published"),
    ],
)
def test_a_page_that_cannot_be_shown_is_refused(slate: list[list[int]], words: str):
    published = np.array([True, True, True, False, True])
    with pytest.raises(InvalidInputError, match=words):
        check_slate(np.array(slate, dtype=np.int32), 1, 2, published)


def test_a_short_page_may_be_padded():
    check_slate(np.array([[0, -1, -1]], dtype=np.int32), 1, 3, np.ones(2, dtype=np.bool_))


def test_an_arm_is_reproducible_and_sees_new_users_only():
    policy = FirstUnseen()
    first = run_arm(SETTINGS, policy, 300, SilentProgress())[1]
    assert first == run_arm(SETTINGS, FirstUnseen(), 300, SilentProgress())[1]
    assert first.new_users == first.users == 300
    assert first.seven_day_churn is not None
    assert first.seven_day_churn.n == 300
    # A search may come before the first page, nothing else.
    assert policy.observations[0].lengths.max() <= 1
    assert all(user_id.startswith("new-") for user_id in policy.observations[0].table.user_ids)
