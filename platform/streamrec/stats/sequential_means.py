"""Is an outcome worse in one arm? Evidence that may be looked at as often as one likes, from sums over units.

In each step of a rollout the arms differ by a share ``d`` of the metric's value, known with the information
``I`` (one over its variance). Scores ``d I`` and information of the steps add up, and together they behave
as a Brownian motion with drift at the time ``I`` (Jennison and Turnbull 2000, "Group sequential methods",
sec. 11.3). A mixture of the likelihood ratio over losses from a half-normal distribution is then a
supermartingale (Robbins 1970; the one-sided normal mixture of Howard, Ramdas, McAuliffe and Sekhon 2021,
"Time-uniform, nonparametric, nonasymptotic confidence sequences"). With variances that are estimated and
units of any distribution it holds asymptotically (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024,
"Time-uniform central limit theory and asymptotic confidence sequences"), so nothing is said on few units.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr

from streamrec.stats.clustered_ratios import RatioMoments

LEAST_UNITS: Final = 100
"""Of each arm, without which nothing is said."""

LEAST_ACTIVE_UNITS: Final = 30.0
"""Of the smaller arm, that have an outcome at all: as many as would have it, were both equal."""


@dataclass(frozen=True, slots=True)
class Score:
    """How two arms differ, in units that add up.

    Attributes:
        score: Difference times information.
        information: One over the variance of the difference.
    """

    score: float = 0.0
    information: float = 0.0

    def __add__(self, other: Score) -> Score:
        """Of separate steps together."""
        return Score(self.score + other.score, self.information + other.information)

    @property
    def difference(self) -> float | None:
        """As a share of the metric's value; None where nothing is known."""
        return self.score / self.information if self.information > 0.0 else None


def score_of(challenger: RatioMoments, reference: RatioMoments) -> Score | None:
    """How the ratio of one arm differs from that of the other, as a share of the ratio of both together.

    The variance is the one under equality: units of both arms together vary about the common ratio (a score
    test), so that an arm in which little has happened yet is not thought to be known exactly.

    Returns:
        None where it is too early (`LEAST_UNITS`, `LEAST_ACTIVE_UNITS`) or there is nothing to estimate.
    """
    both = challenger + reference
    ratio, smaller = both.ratio, min(challenger.units, reference.units)
    if smaller < LEAST_UNITS or not ratio or challenger.y <= 0.0 or reference.y <= 0.0 or both.xx <= 0.0:
        return None
    # (sum x)^2 / sum x^2: how many units of equal size would have the same outcomes.
    if both.x * both.x / both.xx * smaller / both.units < LEAST_ACTIVE_UNITS:
        return None
    spread = (both.xx - 2.0 * ratio * both.xy + ratio * ratio * both.yy) / (both.units - 1)
    each = spread * (challenger.units / challenger.y**2 + reference.units / reference.y**2)
    if each <= 1e-12 * ratio * ratio:
        return None
    difference = (challenger.x / challenger.y - reference.x / reference.y) / abs(ratio)
    information = ratio * ratio / each
    return Score(difference * information, information)


def pooled_score(arms: Iterable[tuple[RatioMoments, RatioMoments]]) -> Score | None:
    """`score_of` of each step's (challenger, reference), together; None where none says anything."""
    found = [score for pair in arms if (score := score_of(*pair)) is not None]
    return sum(found, Score()) if found else None


def log_evidence_of_gain(score: ArrayLike, information: ArrayLike, scale: float) -> NDArray[np.float64]:
    """Logarithm of the mixture of likelihood ratios of a positive drift against none or a negative one.

    ``2 / sqrt(1 + v) exp(s^2 scale^2 / (2 (1 + v))) Phi(s scale / sqrt(1 + v))`` with ``v = scale^2 I``. Of a
    loss it is that of the score with its sign turned.

    Args:
        score: Shape (...).
        information: The same shape, 0 or more.
        scale: Of the half-normal distribution of drifts: how large one is expected to be.
    """
    drift, time = np.asarray(score, dtype=np.float64), np.asarray(information, dtype=np.float64)
    spread = 1.0 + scale * scale * time
    standard = scale * drift / np.sqrt(spread)
    value: NDArray[np.float64] = (
        np.log(2.0) - 0.5 * np.log(spread) + 0.5 * standard * standard + log_ndtr(standard)
    )
    return value
