"""How popular each item is among users of a language, shrunk to how popular it is among all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.conventions import UNKNOWN

_SMOOTHING: Final = 0.5
"""Interactions that every item is credited with (Jeffreys): a new item has none and is not impossible."""

_RIDGE: Final = 1.0
"""Of the regression on item vectors, which have unit length: what one more item weighs."""

_LEADERS: Final = 5000
"""Most popular items kept in order: more than the longest history and a request's candidates together."""


@dataclass(frozen=True)
class LanguagePopularity:
    """Log share of the interactions that goes to each item, by user language.

    Attributes:
        languages: Length g, user languages with a row of their own.
        log_shares: Shape (g + 1, n), float32; row 0 is everybody.
    """

    languages: tuple[str, ...]
    log_shares: NDArray[np.float32]

    @classmethod
    def from_interactions(
        cls,
        items: NDArray[np.integer],
        user_languages: Sequence[str],
        item_count: int,
        *,
        pseudo_interactions: float,
        minimum_interactions: int,
        maximum_languages: int,
    ) -> Self:
        """Count, and shrink each language's counts to everybody's.

        The share of item i in language l is (n_li + c s_i) / (n_l + c): the mean of a Dirichlet posterior
        whose prior is everybody's share s with a weight of c interactions.

        Args:
            items: Shape (m,): item row of each interaction.
            user_languages: Length m: language of its user.
            item_count: Number of items n.
            pseudo_interactions: The weight c.
            minimum_interactions: A language with fewer has no row.
            maximum_languages: The rows are those of the languages with the most interactions.
        """
        counts = np.bincount(items, minlength=item_count).astype(np.float64) + _SMOOTHING
        shares = counts / counts.sum()
        totals = Counter(language for language in user_languages if language != UNKNOWN)
        ranked = sorted(totals.items(), key=lambda entry: (-entry[1], entry[0]))[:maximum_languages]
        languages = tuple(sorted(language for language, total in ranked if total >= minimum_interactions))
        labels = np.asarray(user_languages, dtype=np.str_)
        rows = [shares]
        for language in languages:
            own = np.bincount(items[labels == language], minlength=item_count)
            rows.append((own + pseudo_interactions * shares) / (own.sum() + pseudo_interactions))
        return cls(languages, np.log(np.array(rows)).astype(np.float32))

    def group(self, language: str) -> int:
        """Row of ``log_shares`` for a user of ``language``; 0 where it has none of its own."""
        return self._group_of.get(language, 0)

    @cached_property
    def _group_of(self) -> dict[str, int]:
        return {language: position for position, language in enumerate(self.languages, start=1)}

    def of_vectors(self, vectors: NDArray[np.float32], new: NDArray[np.float32]) -> NDArray[np.float32]:
        """Shape (g + 1, m): log shares to expect of items nobody could meet yet, by where they lie.

        A ridge regression of the log shares on the item vectors, within the range of each row: an item is
        expected to be as popular as those like it are, not as one that everybody passed by.

        Args:
            vectors: Shape (n, d): of the items that were counted.
            new: Shape (m, d): of the others.
        """
        centre = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - centre
        gram = centred.T @ centred + _RIDGE * np.eye(centred.shape[1])
        mean = self.log_shares.mean(axis=1, dtype=np.float64)
        slopes = np.linalg.solve(gram, centred.T @ (self.log_shares.T - mean))
        expected = (mean + (new - centre) @ slopes).T
        lowest, highest_share = self.log_shares.min(axis=1), self.log_shares.max(axis=1)
        clipped: NDArray[np.float32] = np.clip(expected, lowest[:, None], highest_share[:, None]).astype(
            np.float32
        )
        return clipped

    @cached_property
    def leaders(self) -> NDArray[np.int64]:
        """Shape (g + 1, min(n, 5000)): the most popular item rows of each group, best first."""
        return highest(self.log_shares)


def highest(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Shape (g, at most 5000): columns of each row of ``scores`` (g, n), highest first; ties by column."""
    count = min(scores.shape[1], _LEADERS)
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]
