"""What the tests of this folder share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.recommendations.reranking.selection import Exchange


def slate_after(exchange: Exchange, slate_length: int) -> NDArray[np.int64]:
    """Candidate positions of the slate after every exchange, in order of relevance; shape (slate_length,)."""
    kept = np.ones(slate_length, dtype=np.bool_)
    kept[exchange.outgoing] = False
    return np.sort(np.concatenate([np.flatnonzero(kept), exchange.incoming]))
