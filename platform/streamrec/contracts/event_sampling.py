"""Which requests are recorded in full: the same ones wherever and whenever it is asked."""

from __future__ import annotations

from typing import Final

from streamrec.contracts.units import bucket

CANDIDATES_SHARE_BP: Final = 100
"""Requests in 10,000 whose candidates are all kept, with their scores."""

_CANDIDATES_SALT: Final = "streamrec.candidates"


def keeps_candidates(request_id: str) -> bool:
    """Whether all candidates of this request are written down: one request in a hundred, by its id alone."""
    return bucket(_CANDIDATES_SALT, request_id) < CANDIDATES_SHARE_BP
