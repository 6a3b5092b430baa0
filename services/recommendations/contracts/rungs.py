"""The steps of the fallback ladder: how much of the pipeline an answer is made of."""

from __future__ import annotations

from enum import StrEnum


class Rung(StrEnum):
    """The step of the fallback ladder that an answer came from, best first."""

    RANKED = "ranked"
    RETRIEVAL_ORDER = "retrieval_order"
    POPULAR_IN_LANGUAGE = "popular_in_language"
    STATIC = "static"
