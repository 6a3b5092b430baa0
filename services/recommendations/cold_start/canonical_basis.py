"""Coordinates in which users differ independently and clicks scatter with unit variance.

The two-covariance model (Ioffe 2006, "Probabilistic linear discriminant analysis", sec. 2): a user's vector
is x ~ N(mu, B), an item the user takes up has the vector v ~ N(x, W). The generalised eigenvectors of (B, W)
make both covariances diagonal at once, W the identity. Every update of the posterior is then one addition and
one division a dimension, exactly, although B and W are full matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

_RIDGE_SHARE: Final = 1e-3
"""Share of the mean within-user variance added to its diagonal: few users leave W singular."""

MINIMUM_VARIANCE: Final = 1e-3
"""Smallest between-user variance, in units of the click noise: the moment estimate can be negative."""


@dataclass(frozen=True)
class EarlyInteractions:
    """What the training users took up first, reduced to what the fit needs.

    Attributes:
        means: Shape (u, d): mean item vector of each user's first interactions.
        counts: Shape (u,): how many interactions are in that mean, at least 1.
        within: Shape (d, d): scatter of the vectors around their user's mean, summed over users.
    """

    means: NDArray[np.float64]
    counts: NDArray[np.int64]
    within: NDArray[np.float64]

    @property
    def degrees_of_freedom(self) -> int:
        """Of the scatter."""
        return int((self.counts - 1).sum())


@dataclass(frozen=True)
class CanonicalBasis:
    """A linear map of the embedding space, strongest between-user variance first.

    Attributes:
        to_canonical: Shape (d, d): ``v @ to_canonical`` are the coordinates of a vector.
        from_canonical: Shape (d, d): its inverse.
        mean: Shape (d,): population mean, in coordinates.
        variance: Shape (d,): between-user variance of each coordinate; click noise is 1.
    """

    to_canonical: NDArray[np.float64]
    from_canonical: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    def with_noise(self, noise_scale: NDArray[np.float64]) -> CanonicalBasis:
        """Rescale the coordinates so that a noise of ``noise_scale``, shape (d,), becomes 1."""
        return CanonicalBasis(
            to_canonical=self.to_canonical / noise_scale,
            from_canonical=self.from_canonical * noise_scale[:, None],
            mean=self.mean / noise_scale,
            variance=np.maximum(self.variance / noise_scale**2, MINIMUM_VARIANCE),
        )


def early_interactions(
    histories: Sequence[NDArray[np.integer]], vectors: NDArray[np.floating]
) -> EarlyInteractions:
    """Reduce histories to means, counts and scatter.

    Args:
        histories: Item rows of each user, already cut to the first few, none empty.
        vectors: Shape (n, d), item vectors.
    """
    dimension = vectors.shape[1]
    means = np.empty((len(histories), dimension))
    counts = np.empty(len(histories), dtype=np.int64)
    within = np.zeros((dimension, dimension))
    for user, items in enumerate(histories):
        taken = vectors[items].astype(np.float64)
        counts[user] = len(items)
        means[user] = taken.mean(axis=0)
        centred = taken - means[user]
        within += centred.T @ centred
    return EarlyInteractions(means, counts, within)


def fit_basis(early: EarlyInteractions) -> CanonicalBasis:
    """Estimate B and W by moments and diagonalise them (Searle et al. 1992, "Variance components", ch. 3.6).

    The scatter of user means estimates B + W mean(1 / count), the scatter within users estimates W.
    """
    users, dimension = early.means.shape
    mean = early.means.mean(axis=0)
    centred = early.means - mean
    total = centred.T @ centred / max(users - 1, 1)
    noise = early.within / max(early.degrees_of_freedom, 1)
    scale = np.trace(noise) / dimension or np.trace(total) / dimension or 1.0
    noise = noise + np.eye(dimension) * scale * _RIDGE_SHARE
    between = total - noise * float(np.mean(1.0 / early.counts))
    eigenvalues, eigenvectors = eigh(between, noise)
    order = np.argsort(-eigenvalues)
    to_canonical = eigenvectors[:, order]
    # Signs are arbitrary in an eigen-decomposition; fix them so that every machine writes the same artifact.
    signs = np.sign(to_canonical[np.abs(to_canonical).argmax(axis=0), np.arange(dimension)])
    to_canonical = to_canonical * np.where(signs == 0, 1.0, signs)
    return CanonicalBasis(
        to_canonical=to_canonical,
        # eigh normalises so that T' W T = I, hence the inverse of T is T' W: no inversion needed.
        from_canonical=to_canonical.T @ noise,
        mean=mean @ to_canonical,
        variance=np.maximum(eigenvalues[order], MINIMUM_VARIANCE),
    )
