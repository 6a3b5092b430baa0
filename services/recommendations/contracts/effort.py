"""How much is done for a request: less where there is more to do than can be done in time."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Effort(StrEnum):
    """What is left out, the least first; each step leaves out what those before it do."""

    FULL = "full"
    FEWER_CANDIDATES = "fewer_candidates"
    NO_RERANKING = "no_reranking"


EFFORTS: Final = tuple(Effort)
"""By the steps taken of a brown-out (`streamrec.serving.brown_out`)."""
