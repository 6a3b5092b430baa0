"""The checks that a version passes before it may serve."""

from __future__ import annotations

from enum import StrEnum


class GateName(StrEnum):
    """In the order in which they run: what is cheap and damns everything else comes first."""

    ARTIFACT = "artifact"
    """The files are what the registry may hold, and answer the same twice."""
    VALIDATION = "validation"
    """What it is judged on is not what it was trained on."""
    SKEW = "skew"
    """It is served the features that it was trained with."""
    QUALITY = "quality"
    """It is not worse than what serves."""
    FAIRNESS = "fairness"
    """No group of people is treated worse than the policy tolerates."""
    LATENCY = "latency"
    """It answers in time and fits into memory."""
