"""How unequally something is spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def gini(amounts: NDArray[np.floating]) -> float:
    """Gini coefficient of non-negative amounts: 0 when all are equal, (n - 1) / n when one has all.

    Sorted-sum form, ``sum((2 i - n - 1) x_i) / (n sum(x))`` with i from 1 (Sen 1973, eq. 2.8.2).

    Args:
        amounts: Shape (n,), one per holder, zeros included: a language that is never shown counts.

    Raises:
        ValueError: Nothing to spread: no holders, a negative or non-finite amount, or a total of zero.
    """
    amounts = np.sort(np.asarray(amounts, dtype=np.float64))
    if amounts.size == 0 or not np.isfinite(amounts).all() or amounts[0] < 0 or amounts.sum() == 0:
        raise ValueError("amounts must be finite, not negative, and not all zero")
    n = amounts.size
    index = np.arange(1, n + 1)
    return float(((2 * index - n - 1) * amounts).sum() / (n * amounts.sum()))
