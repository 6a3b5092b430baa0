"""Is an outcome shown to be not worse by more than a margin? Decided once, when enough is known to decide.

When that is depends on how exactly the difference is known, not on what it is: the standard error at which a
version that is just as good passes with the planned power (an information-based design: Mehta and Tsiatis
2001, "Flexible sample size considerations using information-based interim monitoring"). So the one look is
at a fixed amount of information, and its error is the one of a fixed-horizon test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist

from streamrec.stats.clustered_ratios import RatioMoments
from streamrec.stats.sequential_means import LEAST_UNITS


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """What is known of a gain, as shares of the reference's value.

    Attributes:
        challenger, reference: Values of the metric, with equal weights of the steps.
        gain: Of the challenger over the reference; negative for a loss.
        bound: One-sided lower confidence bound of it.
        standard_error: Of the slack that decides, as such a share.
        needed_standard_error: The one at which it is decided.
        margin: The loss that is tolerated.
        samples: What the metric is over, of the challenger.
    """

    challenger: float
    reference: float
    gain: float
    bound: float
    standard_error: float
    needed_standard_error: float
    margin: float
    samples: float

    @property
    def can_decide(self) -> bool:
        """Whether enough is known for the one look."""
        return self.standard_error <= self.needed_standard_error

    @property
    def is_shown(self) -> bool:
        """Whether the challenger is not worse by more than the margin; to be looked at once."""
        return self.bound >= -self.margin

    @property
    def samples_needed(self) -> int:
        """Of the challenger, at the shares of traffic so far: errors shrink by the root of samples."""
        return ceil(self.samples * max(self.standard_error / self.needed_standard_error, 1.0) ** 2)


def non_inferiority(
    arms: Sequence[tuple[RatioMoments, RatioMoments]],
    *,
    margin: float,
    confidence: float,
    power: float,
    lower_is_better: bool = False,
) -> NonInferiority | None:
    """Compare the ratios of two arms, pooled within steps.

    Arms are compared within each step, where traffic was split at one time, and the comparisons are averaged
    with the weights ``a b / (a + b)`` of what each arm's ratio is over (Cochran 1954, "Some methods for
    strengthening the common chi-square tests", sec. 3): steps with other shares at other times do not bias
    the comparison (Simpson's paradox). What decides is the slack ``challenger - (1 - margin) reference``;
    variances are those of `RatioMoments`, with units as clusters. A unit that is in several steps counts
    as a new one in each.

    Args:
        arms: (challenger, reference) of each step; what has too few units is left out.
        margin: Tolerated loss, as a share of the reference's value.
        confidence: Of the one-sided bound.
        power: Chance that a version that is as good passes.
        lower_is_better: Whether a larger metric is the worse one.

    Returns:
        None where nothing can be estimated.
    """
    sign = -1.0 if lower_is_better else 1.0
    kept = 1.0 - sign * margin
    weight = own = other = variance = samples = 0.0
    for challenger, reference in arms:
        found = (challenger.variance, reference.variance)
        if min(challenger.units, reference.units) < LEAST_UNITS or not found[0] or not found[1]:
            continue
        share = challenger.y * reference.y / (challenger.y + reference.y)
        weight += share
        own += share * challenger.x / challenger.y
        other += share * reference.x / reference.y
        variance += share * share * (found[0] + kept * kept * found[1])
        samples += challenger.y
    if weight == 0.0 or other <= 0.0:
        return None
    own, other, error = own / weight, other / weight, variance**0.5 / weight
    normal = NormalDist()
    slack = sign * (own - kept * other)
    bound = (slack - normal.inv_cdf(confidence) * error) / other - margin
    needed = margin / (normal.inv_cdf(confidence) + normal.inv_cdf(power))
    return NonInferiority(
        own, other, sign * (own - other) / other, bound, error / other, needed, margin, samples
    )
