"""What users find without a recommender: a search for the topic on their mind, in a language they know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommendations.world.behaviour import Mood, Scene, interest_logits
from services.recommendations.world.labels import TOPICS


class Search:
    """Draws items of a language and a topic by appeal.

    Args:
        scene: The world.
        now_seconds: Items published later are not found.
    """

    def __init__(self, scene: Scene, now_seconds: int) -> None:
        catalogue = scene.catalogue
        published = np.flatnonzero(catalogue.published(now_seconds))
        self._scene = scene
        self._ordered = published[np.argsort(catalogue.cells[published], kind="stable")].astype(np.int32)
        self._cells = catalogue.cells[self._ordered]
        appeal = np.exp(scene.items.appeal[self._ordered].astype(np.float64))
        self._mass = np.concatenate(([0.0], np.cumsum(appeal)))

    def draw(
        self,
        languages: NDArray[np.int64],
        topics: NDArray[np.int64],
        candidates: int,
        rng: np.random.Generator,
    ) -> NDArray[np.int32]:
        """Draw items by appeal from each language and topic, with replacement.

        A topic that a language lacks is replaced by the whole language, which never is empty.

        Args:
            languages: Shape (n,).
            topics: Shape (n,).
            candidates: Items per row.
            rng: Source of chance.

        Returns:
            Shape (n, candidates), item rows.
        """
        size = len(TOPICS)
        low = np.searchsorted(self._cells, languages * size + topics, side="left")
        high = np.searchsorted(self._cells, languages * size + topics, side="right")
        empty = low == high
        low[empty] = np.searchsorted(self._cells, languages[empty] * size, side="left")
        high[empty] = np.searchsorted(self._cells, (languages[empty] + 1) * size, side="left")
        low, high = low[:, None], high[:, None]
        share = rng.random((len(languages), candidates))
        point = self._mass[low] + share * (self._mass[high] - self._mass[low])
        position = np.clip(np.searchsorted(self._mass, point, side="right") - 1, low, high - 1)
        return np.asarray(self._ordered[position], dtype=np.int32)

    def find(self, users: NDArray[np.int64], mood: Mood, rng: np.random.Generator) -> NDArray[np.int32]:
        """Shape (n,): the item that each of ``users`` picks, for the topic in focus."""
        settings = self._scene.settings
        languages = draw_columns(np.exp(self._scene.users.language_logits), users, rng)
        found = self.draw(languages, mood.focus[users].astype(np.int64), settings.search_candidates, rng)
        wish = interest_logits(self._scene, users, found, mood) + rng.gumbel(size=found.shape)
        return np.asarray(found[np.arange(len(users)), wish.argmax(axis=1)], dtype=np.int32)


def draw_columns(
    weights: NDArray[np.float32], rows: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Shape (n,): one column for each of ``rows`` (n,), drawn by that row's ``weights``."""
    cumulative = np.cumsum(weights[rows], axis=1)
    point = rng.random(len(rows)) * cumulative[:, -1]
    return np.asarray((cumulative[:, :-1] <= point[:, None]).sum(axis=1), dtype=np.int64)
