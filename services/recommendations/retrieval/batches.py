"""One epoch's steps: which examples, which negatives, and the loss of each step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.recommendations.retrieval.examples import NextItemExamples
from services.recommendations.retrieval.hard_negatives import HardNegatives
from services.recommendations.retrieval.settings import RetrievalSettings
from services.recommendations.retrieval.towers import OwnNegatives, TwoTowers, sampled_softmax_loss


@dataclass
class Batches:
    """Draws examples and negatives, and computes each step's loss.

    Attributes:
        examples: What to learn from.
        segments: Shape (users, attributes): row of each attribute's table, -1 where unknown.
        item_count: Items of the catalogue.
        settings: Sizes, counts and dropouts.
        generator: Of negatives and dropout.
        rng: Of the order of the examples.
        hard_negatives: Replaced between epochs.
    """

    examples: NextItemExamples
    segments: NDArray[np.int64]
    item_count: int
    settings: RetrievalSettings
    generator: torch.Generator
    rng: np.random.Generator
    hard_negatives: HardNegatives

    def __post_init__(self) -> None:
        others = self.batch_size - 1
        # Without uniform negatives an item that is never a target is never a negative either.
        self._expected_counts = torch.from_numpy(
            np.maximum(
                others * self.examples.target_shares(self.item_count)
                + self.settings.uniform_negative_count / self.item_count,
                1e-12,
            ).astype(np.float32)
        )

    @property
    def batch_size(self) -> int:
        """Examples of a step."""
        return min(self.settings.batch_size, len(self.examples))

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, 1 or more."""
        return self.settings.examples_per_epoch(len(self.examples)) // self.batch_size or 1

    def losses(self, towers: TwoTowers) -> Iterator[Tensor]:
        """One epoch."""
        order = self.rng.permutation(len(self.examples))
        for step in range(self.steps_per_epoch):
            yield self._loss(towers, order[step * self.batch_size : (step + 1) * self.batch_size])

    def _loss(self, towers: TwoTowers, chosen: NDArray[np.int64]) -> Tensor:
        settings = self.settings
        users_of_step = self.examples.users[chosen]
        history = torch.from_numpy(self.examples.histories(chosen, settings.history_length))
        targets = torch.from_numpy(self.examples.items[chosen])
        uniform = torch.randint(self.item_count, (settings.uniform_negative_count,), generator=self.generator)
        windows, hard = self.hard_negatives.draw(users_of_step, self.generator)
        candidates = torch.cat([targets, uniform])
        present = history >= 0
        # The item tower runs once for each item of the step, wherever and however often it occurs.
        rows, places = torch.unique(
            torch.cat([candidates, hard.clamp(min=0).flatten(), history.clamp(min=0).flatten()]),
            return_inverse=True,
        )
        candidate_places, hard_places, history_places = places.split(
            [len(candidates), hard.numel(), history.numel()]
        )
        history_places = history_places.view(history.shape)
        has_id = torch.rand(len(rows), 1, generator=self.generator) >= settings.item_dropout
        vectors = towers.item_vectors(rows, has_id.float())
        kept = torch.rand(history.shape, generator=self.generator) >= settings.history_dropout
        kept[:, 0] = True
        users = towers.user_vectors(
            vectors.index_select(0, history_places.flatten()).view(*history.shape, -1),
            (present & kept).float(),
            torch.from_numpy(self.segments[users_of_step]),
        )
        # Seen items are filtered from every answer, so a user should not pay for liking them.
        not_negative = _marks(torch.where(present, history_places, len(rows)), len(rows))
        own = torch.arange(len(targets))
        not_negative[own, candidate_places[own]] = True
        expected_counts = self._expected_counts[candidates]
        log_counts = expected_counts.log()
        own_negatives = None
        if hard.numel():
            extra = self.hard_negatives.expected_count
            in_window = _marks(_places_of(windows, rows, self.item_count), len(rows))
            in_own_window = (expected_counts + extra).log()
            log_counts = torch.where(in_window[:, candidate_places], in_own_window, log_counts)
            own_negatives = OwnNegatives(
                vectors.index_select(0, hard_places).view(*hard.shape, -1),
                (self._expected_counts[hard.clamp(min=0)] + extra).log(),
                hard < 0,
            )
        return sampled_softmax_loss(
            users,
            vectors.index_select(0, candidate_places),
            log_counts,
            not_negative[:, candidate_places],
            settings.temperature,
            own_negatives,
        )


def _places_of(items: Tensor, rows: Tensor, item_count: int) -> Tensor:
    """Where each item stands in ``rows``; ``len(rows)`` for those that do not, and for -1."""
    place_of = torch.full((item_count + 1,), len(rows), dtype=torch.int64)
    place_of[rows] = torch.arange(len(rows))
    return place_of[items]  # -1 is the last, which no row has


def _marks(places: Tensor, row_count: int) -> Tensor:
    """Shape (b, row_count + 1), true at each example's places; the last column collects what has none."""
    marks = torch.zeros(len(places), row_count + 1, dtype=torch.bool)
    return marks.scatter_(1, places, value=True)
