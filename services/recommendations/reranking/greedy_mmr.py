"""The plain alternative that evaluation compares with; nothing is served by it.

Maximal marginal relevance (Carbonell and Goldstein 1998, "The use of MMR", eq. 1) with languages for
similarity: the slate is filled from the first place on, each time with the candidate that maximises

    (1 - weight) * relevance_i / relevance_1 + weight * bonus(language of i) / (1 + times it is in the slate)

so a language's bonus shrinks with every item of it that is already there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommendations.reranking.batch import RequestBatch, Slates
from services.recommendations.reranking.selection import Floats
from streamrec.contracts.errors import InvalidInputError


def greedy_mmr(batch: RequestBatch, language_bonus: Floats, weight: float, exploration_slots: int) -> Slates:
    """Serve every request by greedy MMR under the same exploration limit as ours.

    Items stand where the greedy choice puts them: it knows no other order.

    Args:
        batch: Requests.
        language_bonus: Shape (languages + 1,), 0..1: 1 for the language that is wanted most.
        weight: Of diversity; 0 is the order of relevance, 1 ignores relevance.
        exploration_slots: As in `best_exchange`.

    Raises:
        InvalidInputError: ``weight`` is not in 0..1.
    """
    if not 0.0 <= weight <= 1.0:
        raise InvalidInputError("weight", "must be in 0..1")
    rows = np.arange(len(batch))
    relevance = (1.0 - weight) * batch.relevance / batch.relevance[:, :1]
    # What pads a row has the value -inf.
    free = np.isfinite(batch.values)
    times = np.zeros((len(batch), len(language_bonus)))
    explored = np.zeros(len(batch), dtype=np.int64)
    columns = np.empty((len(batch), batch.slate_length), dtype=np.int64)
    for place in range(batch.slate_length):
        bonus = (weight * language_bonus / (1.0 + times))[rows[:, None], batch.codes]
        allowed = free & ~(batch.foreign & (explored >= exploration_slots)[:, None])
        chosen = np.argmax(np.where(allowed, relevance + bonus, -np.inf), axis=1)
        columns[:, place] = chosen
        free[rows, chosen] = False
        explored += batch.foreign[rows, chosen]
        times[rows, batch.codes[rows, chosen]] += 1.0
    return batch.slates_of(columns)


def scarcity_bonus(exposure: Floats, counted: NDArray[np.bool_]) -> Floats:
    """Bonus by language, shape (languages + 1,): 1 for the least exposed one, 0 for the most exposed.

    Args:
        exposure: Shape (counted languages,): shares in the order of relevance.
        counted: Shape (languages + 1,): which languages these are.
    """
    bonus = np.zeros(len(counted))
    spread = exposure.max() - exposure.min()
    if spread > 0:
        bonus[counted] = (exposure.max() - exposure) / spread
    return bonus
