"""Which requests are recorded in full: the same ones wherever and whenever it is asked."""

from __future__ import annotations

import hashlib
from typing import Final

CANDIDATES_SHARE_BP: Final = 100
"""Requests in 10,000 whose candidates are all kept, with their scores."""

_CANDIDATES_SALT: Final = "streamrec.candidates"
_BUCKETS: Final = 10_000


def keeps_candidates(request_id: str) -> bool:
    """Whether all candidates of this request are written down: one request in a hundred, by its id alone."""
    digest = hashlib.sha256(f"{_CANDIDATES_SALT}:{request_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _BUCKETS < CANDIDATES_SHARE_BP
