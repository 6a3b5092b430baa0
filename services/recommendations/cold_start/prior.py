"""The prior of a new user: a Gaussian per segment, in canonical coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.canonical_basis import CanonicalBasis
from services.recommendations.cold_start.hierarchy import Scales, SegmentStatistics, effects_given
from services.recommendations.cold_start.segments import ATTRIBUTES, SegmentDesign
from services.recommendations.contracts.candidates import Segment

_MIXED_DRAWS: Final = 200
"""Posterior draws of the scales that effects are averaged over; the average has settled long before."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SegmentPrior:
    """Mean and variance of a user of any segment. Click noise is 1 in every coordinate.

    The leading k coordinates carry segment effects; the rest, which barely tell users apart, carry the
    population's mean and variance alone.

    Attributes:
        design: Which attribute values have an effect.
        population_mean: Shape (d,).
        between_variance: Shape (d,): variance between users of one segment.
        effect_mean: Shape (p, k): column 0 of the design is the population itself.
        effect_covariance: Shape (k, p, p): how uncertain the effects are.
        spread_variance: Shape (4, k): variance of the effect of a value that has no column, by attribute.
    """

    design: SegmentDesign
    population_mean: Floats
    between_variance: Floats
    effect_mean: Floats
    effect_covariance: Floats
    spread_variance: Floats

    @classmethod
    def from_draws(
        cls,
        design: SegmentDesign,
        basis: CanonicalBasis,
        statistics: SegmentStatistics,
        draws: Sequence[Scales],
    ) -> tuple[Self, CanonicalBasis]:
        """Average the hierarchy over posterior draws of its scales.

        Returns:
            The prior, and the basis rescaled so that the fitted click noise is 1.
        """
        k = statistics.coordinates
        thinned = [draws[i] for i in np.unique(np.linspace(0, len(draws) - 1, _MIXED_DRAWS).astype(int))]
        effects = [effects_given(statistics, scales) for scales in thinned]
        means = np.array([effect.mean for effect in effects])
        centred = means - means.mean(axis=0)
        # Law of total covariance: within a draw of the scales, and between draws.
        covariance = np.mean([effect.covariance for effect in effects], axis=0)
        covariance += np.einsum("spk,sqk->kpq", centred, centred) / len(thinned)
        noise = np.sqrt(np.mean([scales.noise**2 for scales in draws], axis=0))
        between = np.mean([scales.between**2 for scales in draws], axis=0)
        spread = np.mean([scales.spread**2 for scales in draws], axis=0)
        spread_variance = np.zeros((len(ATTRIBUTES), k))
        spread_variance[np.unique(design.attribute_of_column)] = spread / noise**2
        all_noise = np.concatenate([noise, np.ones(len(basis.mean) - k)])
        rescaled = basis.with_noise(all_noise)
        between_variance = rescaled.variance.copy()
        between_variance[:k] = between / noise**2
        prior = cls(
            design=design,
            population_mean=rescaled.mean,
            between_variance=between_variance,
            effect_mean=means.mean(axis=0) / noise,
            effect_covariance=covariance / noise[:, None, None] ** 2,
            spread_variance=spread_variance,
        )
        return prior, rescaled

    def of(self, segment: Segment) -> tuple[Floats, Floats]:
        """Return mean and variance, both of shape (d,), of a user of whom only the segment is known.

        An attribute value without a column adds no effect to the mean and its whole spread to the variance.
        """
        columns, missing = self.design.encode(segment)
        k = self.effect_mean.shape[1]
        mean, variance = self.population_mean.copy(), self.between_variance.copy()
        mean[:k] = self.effect_mean[columns].sum(axis=0)
        variance[:k] += self.effect_covariance[:, columns][:, :, columns].sum(axis=(1, 2))
        variance[:k] += self.spread_variance[missing].sum(axis=0)
        return mean, variance
