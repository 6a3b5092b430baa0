"""The one protocol every ranking figure comes from: leave-last-out, full ranking, seen items filtered."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamrec.training.splits import Sequences


class TopItems(Protocol):
    """Anything that can be evaluated: a baseline, a stage, or the whole pipeline."""

    def top_items(self, users: NDArray[np.int32], histories: Sequences, count: int) -> NDArray[np.int32]:
        """Rank the whole catalogue for some users.

        Args:
            users: Shape (b,), rows into ``histories``.
            histories: What each user has done so far; items in there are seen and must not be returned.
            count: Length of the lists.

        Returns:
            Shape (b, min(count, items)), catalogue rows, best first; -1 pads a short list.
        """
        ...
