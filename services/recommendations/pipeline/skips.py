"""An item that the user skipped is placed lower for that user, and not hidden. Pure.

The idea is impression discounting (Lee, Lakshmanan, Tiwari and Shah 2014, "Modeling impression discounting in
large-scale recommender systems", KDD): whatever ordered the items, those that the user passed by move down,
by how often and how long ago. Their rule discounts scores. Ours discounts places, because the orders that it
meets (cosines, log probabilities, counts) have no scale in common, and because a score that is far ahead
would stay first however often it is skipped. Evidence ages exponentially (Ding and Li 2005, "Time weight
collaborative filtering").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Candidates, UserState
from streamrec.contracts.errors import InvalidInputError

_HOURS_PER_DAY: Final = 24.0


@dataclass(frozen=True, slots=True)
class SkipDiscount:
    """How far a skip moves an item down.

    An item at place r (from 1) with the evidence e moves to about place r * factor ** e, where each skip that
    no interest of the user in the item has followed adds 0.5 ** (age / half_life_days) to e.

    Attributes:
        factor: A skip of this moment takes the first item to about this place: 8 is within a slate of ten,
            and two skips are beyond it. 1 leaves every item where it is.
        half_life_days: Age at which a skip counts half.

    Raises:
        InvalidInputError: ``factor`` is below 1 or not finite, or ``half_life_days`` not positive and finite.
    """

    factor: float = 8.0
    half_life_days: float = 14.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.factor) and self.factor >= 1.0):
            raise InvalidInputError("skips.factor", "must be finite and at least 1")
        if not (np.isfinite(self.half_life_days) and self.half_life_days > 0.0):
            raise InvalidInputError("skips.half_life_days", "must be finite and above 0")

    def lowered(self, candidates: Candidates, user: UserState) -> Candidates:
        """Return the same items in the discounted order; ``candidates`` itself where that is the same.

        An item that now stands behind a less relevant one gets that one's score, so that scores still fall.
        """
        order = self.order(candidates.item_ids, user)
        if order is None:
            return candidates
        return Candidates(
            tuple(candidates.item_ids[place] for place in order.tolist()),
            np.minimum.accumulate(candidates.scores[order]),
        )

    def order(self, item_ids: tuple[str, ...], user: UserState) -> NDArray[np.int64] | None:
        """Places of the items in the discounted order, shape (n,); None where nothing moves.

        Args:
            item_ids: Length n, best first.
            user: Who skipped.
        """
        evidence = self.evidence(user)
        if not evidence or evidence.keys().isdisjoint(item_ids):
            return None
        moved = np.array([evidence.get(item_id, 0.0) for item_id in item_ids])
        places = np.log(np.arange(1.0, len(item_ids) + 1.0)) + np.log(self.factor) * moved
        # Of two items that meet at one place, the one that was not skipped goes first.
        order: NDArray[np.int64] = np.lexsort((moved, places))
        return order

    def evidence(self, user: UserState) -> dict[str, float]:
        """How strongly the user passed over each item; a skip of this moment is 1."""
        if not user.skip_ages_hours:
            return {}
        ages_days = np.array(user.skip_ages_hours, dtype=np.float64) / _HOURS_PER_DAY
        evidence: dict[str, float] = {}
        for item_id, weight in zip(user.skipped, np.exp2(-ages_days / self.half_life_days), strict=True):
            evidence[item_id] = evidence.get(item_id, 0.0) + float(weight)
        return evidence
