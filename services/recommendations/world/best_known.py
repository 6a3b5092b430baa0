"""A policy that knows every user's hidden taste: the reference for regret, never a candidate for serving."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.world.policies import DayLog, Observation
from services.recommendations.world.truth import UserTruth, match_logits
from services.recommendations.world.world import World

_CHUNK_USERS: Final = 128


class KnowsTheTruth:
    """Shows the unseen items that are most likely clicked, by the true taste and the true appeal.

    It knows neither what a session is about nor what was consumed last, so it is a strong reference and not a
    bound. Quality is left out: where taste is met the share watched is high whatever the quality.

    Args:
        world: The world.
        truth: What is true of the users whom it is asked for, by row.
    """

    def __init__(self, world: World, truth: UserTruth) -> None:
        self._world, self._truth = world, truth

    def recommend(self, observation: Observation, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Choose pages; ``rng`` is not used."""
        del rng
        slate = np.full((len(observation.users), count), -1, dtype=np.int32)
        for begin in range(0, len(slate), _CHUNK_USERS):
            rows = np.arange(begin, min(begin + _CHUNK_USERS, len(slate)))
            slate[rows] = self._best(observation, rows, count)
        return slate

    def end_of_day(self, day: DayLog) -> None:
        """Ignore the day: there is nothing to learn."""

    def _best(self, observation: Observation, rows: NDArray[np.int64], count: int) -> NDArray[np.int32]:
        world = self._world
        items = np.arange(len(world.catalogue), dtype=np.int32)
        every = np.broadcast_to(items, (len(rows), len(items)))
        users = observation.users[rows]
        scores = match_logits(
            self._truth, users, world.items, world.catalogue.languages, every, world.settings.behaviour
        )
        scores += world.items.appeal
        scores[:, ~observation.published] = -np.inf
        for hidden in (observation.histories[rows], observation.shown[rows]):
            row, column = np.nonzero(hidden >= 0)
            scores[row, hidden[row, column]] = -np.inf
        top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        blocked = np.isneginf(np.take_along_axis(scores, top, axis=1))
        return np.where(blocked, -1, top).astype(np.int32)
