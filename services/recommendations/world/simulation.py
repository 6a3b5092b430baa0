"""The closed loop: users come, a policy shows pages, users react, come back or leave for good."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.recommendations.world.behaviour import (
    NOTHING,
    Mood,
    Reaction,
    Scene,
    begin_session,
    browse,
    consume,
    leave_probability,
    page_satisfaction,
    return_factor,
    wants_next_page,
)
from services.recommendations.world.policies import DayLog, Observation, Policy
from services.recommendations.world.search import Search
from services.recommendations.world.seen_filter import SeenFilter
from services.recommendations.world.settings import (
    SLATE_SIZE,
    START_SECONDS,
    TICK_SECONDS,
    TICKS_PER_DAY,
    TIME_OF_DAY,
)
from services.recommendations.world.truth import UserTruth
from services.recommendations.world.users import UserTable
from services.recommendations.world.world import SESSION_SECONDS, Past, World
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.progress import Progress

_Number = TypeVar("_Number", bound=np.generic)

VISIBLE_HISTORY_ITEMS: Final = 256
"""Items of a history that policies see; older ones are dropped."""

FOLLOW_UP_DAYS: Final = 7
"""A new user is churned who has no session from 1 to 8 days (of 24 hours) after signing up: days 1 to 7 when
the day of the signup is day 0."""

_PAGE_SECONDS: Final = 900
_POSITION_SECONDS: Final = 60
_BATCH: Final = 8_192
"""Users that a policy is asked for at once: bounds the memory of a tick."""


@dataclass
class InteractionLog:
    """Interactions in the order they were simulated; one row per user and item."""

    users: list[NDArray[np.int64]] = field(default_factory=list)
    items: list[NDArray[np.int32]] = field(default_factory=list)
    seconds: list[NDArray[np.int64]] = field(default_factory=list)
    events: list[NDArray[np.int8]] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """What a run left behind. All of it could be observed by the company that runs the service.

    Attributes:
        users: Shape (n,), int64: row of the user of each interaction; sorted by time.
        items: Shape (n,), int32: consumed from a page or found by search.
        seconds: Shape (n,), int64: seconds since 1970, UTC.
        events: Shape (n,), int8: position in `behaviour.EVENTS`.
        exposures: Shape (items,), int64: times that each item was on a page.
        position_exposures: Shape (slate,), int64: pages with an item at each position.
        position_clicks: Shape (slate,), int64: clicks at each position of a page.
        sessions: Shape (users,), int64: sessions of each user during the run.
        returned: Shape (users,), bool: had a session from 1 to 8 days after signing up.
        followed: Shape (users,), bool: signed up during the run and 8 days before its end.
        pages: Shape (users,), int64: pages shown to each user.
        satisfaction: Shape (users,), float64: satisfaction of each user with those pages, summed; it follows
            from the shares watched, which are observed.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int32]
    seconds: NDArray[np.int64]
    events: NDArray[np.int8]
    exposures: NDArray[np.int64]
    position_exposures: NDArray[np.int64]
    position_clicks: NDArray[np.int64]
    sessions: NDArray[np.int64]
    returned: NDArray[np.bool_]
    followed: NDArray[np.bool_]
    pages: NDArray[np.int64]
    satisfaction: NDArray[np.float64]


class Simulation:
    """One population under one policy.

    Args:
        world: Catalogue, effects and settings.
        users: The population; may be another than the world's own.
        truth: What is true of it, rows as in ``users``.
        policy: What shows pages.
        rng: Source of all chance.
        first_tick: Where to begin, in ticks after `START_SECONDS`. Users that signed up before are known.
        past: Interactions from before, for the histories.
    """

    def __init__(
        self,
        world: World,
        users: UserTable,
        truth: UserTruth,
        policy: Policy,
        rng: np.random.Generator,
        *,
        first_tick: int = 0,
        past: Past | None = None,
    ) -> None:
        count = len(users)
        self._world, self._table, self._policy, self._rng = world, users, policy, rng
        self._retention = world.settings.retention
        self._scene = Scene(world.catalogue, world.effects, world.items, truth, world.settings.behaviour)
        self._tick = first_tick
        self._signup_tick = (users.signed_up_at - START_SECONDS) // TICK_SECONDS
        known = self._signup_tick < first_tick
        self._mood = Mood.blank(count)
        self._satisfaction = np.full(count, self._retention.initial_satisfaction, dtype=np.float32)
        self._habit = np.where(known, self._retention.past_sessions, 0)
        self._left = np.zeros(count, dtype=np.bool_)
        self._histories = np.full((count, VISIBLE_HISTORY_ITEMS), NOTHING, dtype=np.int32)
        self._lengths = np.zeros(count, dtype=np.int64)
        self._seen = SeenFilter(count)
        self._catalogue_search = Search(self._scene, START_SECONDS + first_tick * TICK_SECONDS)
        if past is not None:
            self._remember(past.users, past.items)
        self._measure_from_here()

    def run(self, ticks: int, progress: Progress, description: str) -> Run:
        """Simulate ``ticks`` and return everything since the start.

        Raises:
            InvalidInputError: The policy answered with the wrong shape, an unknown item, one that is not
                out yet, or one twice on a page.
        """
        progress.start(description, ticks)
        for _ in range(ticks):
            active = self._simulate_tick()
            progress.advance(1, note=f"{active} users online")
            self._tick += 1
            if self._tick % TICKS_PER_DAY == 0:
                self._end_day()
        result = self._result()
        progress.finish(f"{len(result.items)} interactions")
        return result

    def _measure_from_here(self) -> None:
        count = len(self._table)
        self._first_tick = self._tick
        self._sessions = np.zeros(count, dtype=np.int64)
        self._returned = np.zeros(count, dtype=np.bool_)
        self._pages = np.zeros(count, dtype=np.int64)
        self._page_satisfaction = np.zeros(count, dtype=np.float64)
        self._exposures = np.zeros(len(self._world.catalogue), dtype=np.int64)
        self._position_exposures = np.zeros(SLATE_SIZE, dtype=np.int64)
        self._position_clicks = np.zeros(SLATE_SIZE, dtype=np.int64)
        self._log = InteractionLog()
        self._logged_before_today = 0

    def _simulate_tick(self) -> int:
        tick = self._tick
        if tick % TICKS_PER_DAY == 0:
            self._catalogue_search = Search(self._scene, START_SECONDS + tick * TICK_SECONDS)
        signing_up = self._signup_tick == tick
        rate = self._scene.users.sessions_per_day * return_factor(self._satisfaction, self._retention)
        chance = 1.0 - np.exp(-rate * TIME_OF_DAY[tick % TICKS_PER_DAY] / TICKS_PER_DAY)
        comes = (self._rng.random(len(chance)) < chance) & (self._signup_tick < tick) & ~self._left
        active = np.flatnonzero(comes | signing_up)
        offset = self._rng.integers(TICK_SECONDS - SESSION_SECONDS, size=len(active))
        starts = START_SECONDS + tick * TICK_SECONDS + offset
        starts = np.where(signing_up[active], self._table.signed_up_at[active], starts)
        published = self._world.catalogue.published(START_SECONDS + tick * TICK_SECONDS)
        for begin in range(0, len(active), _BATCH):
            batch = slice(begin, begin + _BATCH)
            self._simulate_sessions(active[batch], starts[batch], published)
        return len(active)

    def _simulate_sessions(
        self, users: NDArray[np.int64], starts: NDArray[np.int64], published: NDArray[np.bool_]
    ) -> None:
        settings = self._world.settings.behaviour
        self._note_sessions(users, starts)
        begin_session(self._scene, users, self._mood, self._rng)
        searching = self._rng.random(len(users)) < settings.search_share
        self._search(users[searching], starts[searching])
        satisfaction = np.zeros(len(users), dtype=np.float32)
        pages = np.zeros(len(users), dtype=np.int64)
        shown = np.full((len(users), 0), NOTHING, dtype=np.int32)
        reading = np.arange(len(users))
        for page in range(settings.maximum_pages):
            slate = self._ask(users[reading], shown[reading], published)
            consumed = self._seen.contains(users[reading], slate)
            repeated = (slate[:, :, None] == shown[reading][:, None, :]).any(axis=2)
            reaction = browse(self._scene, users[reading], slate, self._mood, consumed, repeated, self._rng)
            page_starts = starts[reading] + (page + 1) * _PAGE_SECONDS
            self._record(users[reading], page_starts, slate, reaction)
            satisfaction[reading] += page_satisfaction(reaction, self._retention)
            pages[reading] += 1
            new = np.full((len(users), slate.shape[1]), NOTHING, dtype=np.int32)
            new[reading] = slate
            shown = np.concatenate([shown, new], axis=1)
            reading = reading[wants_next_page(reaction, settings, self._rng)]
            if len(reading) == 0:
                break
        self._pages[users] += pages
        self._page_satisfaction[users] += satisfaction
        self._end_sessions(users, satisfaction / pages)

    def _search(self, users: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
        items = self._catalogue_search.find(users, self._mood, self._rng)
        new = ~self._seen.contains(users, items[:, None])[:, 0]
        users, items, starts = users[new], items[new], starts[new]
        events = consume(self._scene, users, items, self._mood, self._rng)
        self._note_interactions(users, items, starts, events)

    def _ask(
        self, users: NDArray[np.int64], shown: NDArray[np.int32], published: NDArray[np.bool_]
    ) -> NDArray[np.int32]:
        lengths = self._lengths[users]
        observation = Observation(
            now_seconds=START_SECONDS + self._tick * TICK_SECONDS,
            users=users,
            table=self._table,
            histories=self._histories[users, : max(1, int(lengths.max(initial=0)))],
            lengths=lengths,
            shown=shown,
            published=published,
            seen=self._seen,
        )
        slate = self._policy.recommend(observation, SLATE_SIZE, self._rng)
        check_slate(slate, len(users), SLATE_SIZE, published)
        return slate

    def _note_sessions(self, users: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
        self._sessions[users] += 1
        self._habit[users] += 1
        days = (starts - self._table.signed_up_at[users]) // 86_400
        back = (days >= 1) & (days <= FOLLOW_UP_DAYS)
        self._returned[users[back]] = True

    def _end_sessions(self, users: NDArray[np.int64], satisfaction: NDArray[np.float64]) -> None:
        memory = self._retention.memory
        running = memory * self._satisfaction[users] + (1.0 - memory) * satisfaction
        self._satisfaction[users] = running
        leaves = leave_probability(self._satisfaction[users], self._habit[users], self._retention)
        self._left[users] = self._rng.random(len(users)) < leaves

    def _record(
        self,
        users: NDArray[np.int64],
        starts: NDArray[np.int64],
        slate: NDArray[np.int32],
        reaction: Reaction,
    ) -> None:
        self._exposures += np.bincount(slate[slate != NOTHING], minlength=len(self._exposures))
        self._position_exposures += (slate != NOTHING).sum(axis=0)
        self._position_clicks += reaction.clicked.sum(axis=0)
        row, column = np.nonzero(reaction.clicked)
        items = slate[row, column]
        seconds = starts[row] + column * _POSITION_SECONDS
        self._note_interactions(users[row], items, seconds, reaction.events[row, column])

    def _note_interactions(
        self,
        users: NDArray[np.int64],
        items: NDArray[np.int32],
        seconds: NDArray[np.int64],
        events: NDArray[np.int8],
    ) -> None:
        self._log.users.append(users)
        self._log.items.append(items)
        self._log.seconds.append(seconds)
        self._log.events.append(events)
        self._remember(users, items)

    def _remember(self, users: NDArray[np.int64], items: NDArray[np.int32]) -> None:
        """Append to the histories, oldest first within a user; users may come more than once."""
        self._seen.add(users, items)
        if len(users) == 0:
            return
        distinct, counts = np.unique(users, return_counts=True)
        order = np.argsort(users, kind="stable")
        users, items = users[order], items[order]
        overflow = self._lengths[distinct] + counts - VISIBLE_HISTORY_ITEMS
        for user, excess in zip(distinct[overflow > 0], overflow[overflow > 0], strict=True):
            self._histories[user] = np.concatenate(
                [self._histories[user, excess:], np.full(excess, NOTHING, dtype=np.int32)]
            )
            self._lengths[user] -= excess
        starts = np.cumsum(counts) - counts
        rank = np.arange(len(users)) - np.repeat(starts, counts)
        self._histories[users, self._lengths[users] + rank] = items
        self._lengths[distinct] += counts

    def _end_day(self) -> None:
        today = slice(self._logged_before_today, None)
        self._policy.end_of_day(
            DayLog(
                end_seconds=START_SECONDS + self._tick * TICK_SECONDS,
                users=_joined(self._log.users[today], np.int64),
                items=_joined(self._log.items[today], np.int32),
            )
        )
        self._logged_before_today = len(self._log.users)

    def _result(self) -> Run:
        seconds = _joined(self._log.seconds, np.int64)
        order = np.argsort(seconds, kind="stable")
        end = START_SECONDS + self._tick * TICK_SECONDS
        followed = (self._signup_tick >= self._first_tick) & (
            self._table.signed_up_at + (FOLLOW_UP_DAYS + 1) * 86_400 <= end
        )
        return Run(
            users=_joined(self._log.users, np.int64)[order],
            items=_joined(self._log.items, np.int32)[order],
            seconds=seconds[order],
            events=_joined(self._log.events, np.int8)[order],
            exposures=self._exposures.copy(),
            position_exposures=self._position_exposures.copy(),
            position_clicks=self._position_clicks.copy(),
            sessions=self._sessions.copy(),
            returned=self._returned.copy(),
            followed=followed,
            pages=self._pages.copy(),
            satisfaction=self._page_satisfaction.copy(),
        )


def check_slate(slate: NDArray[np.int32], users: int, count: int, published: NDArray[np.bool_]) -> None:
    """Refuse a page that no service could show.

    Raises:
        InvalidInputError: See `Simulation.run`.
    """
    if slate.shape != (users, count):
        raise InvalidInputError("slate", f"has shape {slate.shape}, expected {(users, count)}")
    if slate.size == 0:
        return
    if slate.min() < NOTHING or slate.max() >= len(published):
        raise InvalidInputError("slate", f"names an item row outside -1..{len(published) - 1}")
    shown = slate[slate != NOTHING]
    if not published[shown].all():
        raise InvalidInputError(
            "slate", f"shows item row {shown[~published[shown]][0]} before it is published"
        )
    ordered = np.sort(slate, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NOTHING)).any():
        raise InvalidInputError("slate", "shows an item twice on one page")


def _joined(parts: list[NDArray[_Number]], dtype: type[_Number]) -> NDArray[_Number]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
