"""What the stages hand to each other. Items are named by id, never by a model's own row number,
so two stages of different versions always mean the same item.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.conventions import UNKNOWN

CANDIDATE_COUNT: Final = 500
"""Candidates that retrieval and cold start hand to ranking."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What is known of a user without any interaction."""

    country: str = UNKNOWN
    language: str = UNKNOWN
    age_band: str = UNKNOWN
    signup_channel: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class UserState:
    """Everything a stage may know about the user it answers for.

    Attributes:
        user_id: Who.
        segment: Segment attributes.
        history: Items of the user's positive events, oldest first, at most `HISTORY_LIMIT`.
            May hold items that a model does not know (it ignores them) and repeated items.
        disliked: Items that the user never wants to see again, oldest first.
        skipped: Items that the user passed over, oldest first; one stands there for each time.
        skip_ages_hours: Same length: how long ago, in whole hours, 0 or more. Empty in states that were kept
            before skips counted: they lower nothing there.
        shown: Items of the pages before this one, in the order shown; no sign of what the user wants.

    Raises:
        ValueError: There are ages, but not one for each skip.
    """

    user_id: str
    segment: Segment = field(default_factory=Segment)
    history: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    skip_ages_hours: tuple[int, ...] = ()
    shown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.skip_ages_hours and len(self.skip_ages_hours) != len(self.skipped):
            raise ValueError(f"{len(self.skipped)} skips with {len(self.skip_ages_hours)} ages")

    @property
    def not_shown(self) -> tuple[str, ...]:
        """Items that no answer may hold: seen ones, disliked ones and those of the pages before."""
        return self.history + self.refused if self.refused else self.history

    @property
    def refused(self) -> tuple[str, ...]:
        """Items that not even a user who has seen everything is shown again."""
        return self.disliked + self.shown


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items with scores, best first.

    Attributes:
        item_ids: Length n, no duplicates.
        scores: Shape (n,), float32, finite, not increasing.
    """

    item_ids: tuple[str, ...]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.item_ids),):
            raise ValueError(f"{len(self.item_ids)} items but scores of shape {self.scores.shape}")

    def __len__(self) -> int:
        return len(self.item_ids)

    @classmethod
    def from_scores(cls, item_ids: tuple[str, ...], scores: NDArray[np.floating]) -> Self:
        """Sort by score, best first; equal scores keep the order given."""
        order = np.argsort(-scores, kind="stable")
        return cls(
            item_ids=tuple(item_ids[position] for position in order),
            scores=np.ascontiguousarray(scores[order], dtype=np.float32),
        )


class Retriever(Protocol):
    """Finds candidates for a user with a history."""

    def retrieve(self, user: UserState, count: int) -> Candidates:
        """Return at most ``count`` items the user has not seen, best first."""
        ...


class ColdStarter(Protocol):
    """Finds candidates for a user with little or no history."""

    def retrieve(self, user: UserState, count: int, rng: np.random.Generator) -> Candidates:
        """Return at most ``count`` items the user has not seen, by one posterior draw from ``rng``."""
        ...


class Ranker(Protocol):
    """Scores candidates for a user."""

    def rank(self, user: UserState, candidates: Candidates) -> Candidates:
        """Return the same items, rescored and sorted, best first."""
        ...


class Reranker(Protocol):
    """Chooses and orders the slate."""

    def rerank(
        self,
        candidates: Candidates,
        user_context: UserState,
        current_latency_ms: float,
        *,
        slate_length: int | None = None,
    ) -> Candidates:
        """Return the same items in the order to be shown.

        Args:
            candidates: Best first.
            user_context: Who is served.
            current_latency_ms: Time that the request has already taken.
            slate_length: How many of them will be shown; None for the re-ranker's own setting.
        """
        ...
