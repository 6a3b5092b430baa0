"""Cold start at serving time: a posterior in closed form, a draw from it, and a search for the draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start import artifact
from services.recommendations.cold_start.canonical_basis import CanonicalBasis
from services.recommendations.cold_start.popularity import LanguagePopularity, highest
from services.recommendations.cold_start.prior import SegmentPrior
from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.item_index.index import ItemIndex
from streamrec.contracts.conventions import HISTORY_LIMIT

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Blend:
    """How the evidence about a user and the popularity of the items add up to a score.

    score(i) = log share(i) + w log [p(v_i | user) / p(v_i | population)]
    w = segment_weight + (taste_weight - segment_weight) n / (n + 1)    after n clicks

    With w = 1 that is Bayes' rule for the next item when item vectors scatter around the user as the
    two-covariance model says; they do so only roughly, so the weights are chosen on held-out items. For a
    user of whom nothing is known, popularity alone decides.

    Attributes:
        segment_weight: Of the log likelihood ratio before the first click, when only the segment is known.
        taste_weight: What it tends to as clicks come in; there is no switch.
        click_weight: What one click counts as, in independent observations: clicks of one sitting resemble
            each other (a power posterior, Grünwald 2012, "The safe Bayesian").
        exploration: Share of the posterior's standard deviation that a draw explores; what is left is
            integrated over. 1 is Thompson sampling as it is, 0 the posterior mean (Chapelle and Li 2011, "An
            empirical evaluation of Thompson sampling", sec. 3, on posterior reshaping).
    """

    segment_weight: float
    taste_weight: float
    click_weight: float
    exploration: float

    def weight_after(self, clicks: int) -> float:
        """The weight w of the log likelihood ratio."""
        return self.segment_weight + (self.taste_weight - self.segment_weight) * clicks / (clicks + 1)


@dataclass(frozen=True)
class Posterior:
    """What is known of one user: x ~ N(mean, covariance) in the embedding space. Immutable.

    Attributes:
        basis: Coordinates in which the covariance is diagonal and the click noise 1.
        coordinates: Shape (d,): mean, in the basis.
        precision: Shape (d,): inverse variance, in the basis.
        click_weight: Precision that one click adds.
    """

    basis: CanonicalBasis
    coordinates: Floats
    precision: Floats
    click_weight: float = 1.0

    @property
    def mean(self) -> Floats:
        """Shape (d,): posterior mean of the user's vector."""
        mean: Floats = self.coordinates @ self.basis.from_canonical
        return mean

    @property
    def covariance(self) -> Floats:
        """Shape (d, d): posterior covariance of the user's vector."""
        inverse = self.basis.from_canonical
        covariance: Floats = (inverse.T / self.precision) @ inverse
        return covariance

    def observed(self, coordinate_sum: Floats, clicks: int) -> Posterior:
        """Return the posterior after ``clicks`` clicks; the items' coordinates add up to ``coordinate_sum``.

        Normal likelihood with known noise (Gelman et al. 2013, "Bayesian Data Analysis", eq. 3.13):
        precisions add up, and the mean is weighted by them. The order of clicks does not matter.
        """
        precision = self.precision + self.click_weight * clicks
        weighted = self.precision * self.coordinates + self.click_weight * coordinate_sum
        return Posterior(self.basis, weighted / precision, precision, self.click_weight)

    def draw(self, rng: np.random.Generator) -> Floats:
        """Return one user vector from the posterior, shape (d,)."""
        deviation = rng.standard_normal(len(self.coordinates)) / np.sqrt(self.precision)
        drawn: Floats = (self.coordinates + deviation) @ self.basis.from_canonical
        return drawn

    def explored(self, exploration: float, rng: np.random.Generator) -> Posterior:
        """Draw part of the uncertainty: the mean moves, and the variance is what was not drawn.

        Averaged over ``rng`` the result is this posterior, whatever ``exploration`` is in 0..1.
        """
        if exploration == 0.0:
            return self
        deviation = rng.standard_normal(len(self.coordinates)) * (exploration / np.sqrt(self.precision))
        left = max(1.0 - exploration**2, 1e-12)
        return Posterior(self.basis, self.coordinates + deviation, self.precision / left, self.click_weight)


@dataclass(frozen=True)
class ColdStartModel:
    """Finds candidates for a user with little or no history. Stateless: the history is in the request.

    Attributes:
        index: Items and their vectors; the ones it was trained with.
        basis: Canonical coordinates.
        prior: By segment.
        popularity: By user language.
        blend: How taste and popularity add up.
        interval_widths: Shape (levels, d): half widths of the predictive intervals, in standard deviations,
            by nominal coverage (`artifact.NOMINAL_COVERAGES`).
    """

    index: ItemIndex
    basis: CanonicalBasis
    prior: SegmentPrior
    popularity: LanguagePopularity
    blend: Blend
    interval_widths: Floats

    @cached_property
    def leaders(self) -> NDArray[np.int64]:
        """Shape (languages + 1, at most 5000): the most popular item rows, best first."""
        return highest(self.popularity.log_shares)

    @cached_property
    def item_coordinates(self) -> NDArray[np.float32]:
        """Shape (n, d): item vectors in the canonical basis."""
        return (self.index.vectors @ self.basis.to_canonical.astype(np.float32)).astype(np.float32)

    @cached_property
    def population(self) -> tuple[Floats, Floats]:
        """Mean and inverse predictive variance of an item's coordinates, for a user nobody knows."""
        variance = self.prior.between_variance.copy()
        k = self.prior.effect_mean.shape[1]
        mean = self.prior.population_mean.copy()
        mean[:k] = self.prior.effect_mean[0]
        variance[:k] += self.prior.effect_covariance[:, 0, 0] + self.prior.spread_variance.sum(axis=0)
        return mean, 1.0 / (1.0 + variance)

    def known_rows(self, history: Iterable[str]) -> NDArray[np.int64]:
        """Rows of the distinct known items among the newest `HISTORY_LIMIT` of a history, ascending."""
        return self._rows(tuple(history)[-HISTORY_LIMIT:])

    def _rows(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """Rows of the distinct known items, ascending."""
        row_of = self.index.row_of
        return np.array(sorted({row_of[item] for item in item_ids if item in row_of}), dtype=np.int64)

    def posterior(self, user: UserState) -> Posterior:
        """What is known of the user. Each distinct item counts once: to play it again tells nothing new."""
        return self._posterior(user, self.known_rows(user.history))

    def _posterior(self, user: UserState, rows: NDArray[np.int64]) -> Posterior:
        mean, variance = self.prior.of(user.segment)
        start = Posterior(self.basis, mean, 1.0 / variance, self.blend.click_weight)
        return start.observed(self.item_coordinates[rows].sum(axis=0, dtype=np.float64), len(rows))

    def taste(self, posterior: Posterior, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Log likelihood ratio of each item's vector, this user against anybody, up to a constant."""
        mean, weight = self.population
        own = 1.0 / (1.0 + 1.0 / posterior.precision)
        coordinates = self.item_coordinates[rows]
        linear = (own * posterior.coordinates - weight * mean).astype(np.float32)
        quadratic = (0.5 * (weight - own)).astype(np.float32)
        ratio: NDArray[np.float32] = coordinates @ linear + (coordinates * coordinates) @ quadratic
        return ratio

    def retrieve(self, user: UserState, count: int, rng: np.random.Generator) -> Candidates:
        """Return at most ``count`` items that may be shown, by one posterior draw from ``rng``.

        The draw is searched in the index; the items found and the most popular ones in the user's
        language make a pool, which is scored as `Blend` says.
        """
        seen = self.known_rows(user.history)
        posterior = self._posterior(user, seen).explored(self.blend.exploration, rng)
        group = self.popularity.group(user.segment.language)
        pool = self._pool(posterior, group, count, np.union1d(seen, self._rows(user.refused)))
        scores = self.popularity.log_shares[group, pool]
        scores = scores + np.float32(self.blend.weight_after(len(seen))) * self.taste(posterior, pool)
        best = np.argsort(-scores, kind="stable")[:count]
        item_ids = self.index.item_ids
        return Candidates(
            item_ids=tuple(item_ids[row] for row in pool[best].tolist()),
            scores=np.ascontiguousarray(scores[best], dtype=np.float32),
        )

    def _pool(
        self, posterior: Posterior, group: int, count: int, seen: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        leaders = self.leaders[group, : count + len(seen)]
        mean, weight = self.population
        own = 1.0 / (1.0 + 1.0 / posterior.precision)
        query = self.basis.to_canonical @ (own * posterior.coordinates - weight * mean)
        found, _ = self.index.search_rows(query.astype(np.float32), count, seen)
        chosen = np.zeros(len(self.index), dtype=np.bool_)
        chosen[leaders] = True
        chosen[found] = True
        chosen[seen] = False
        chosen[self.index.hidden] = False
        return np.flatnonzero(chosen)

    def with_index(self, index: ItemIndex) -> ColdStartModel:
        """Return the same model over a changed copy of its index (`ItemIndex.with_changes`).

        New items are expected to be as popular as those near them.
        """
        counted = len(self.index)
        if index is self.index:
            return self
        new = self.popularity.of_vectors(self.index.vectors, index.vectors[counted:])
        log_shares = np.concatenate([self.popularity.log_shares, new], axis=1)
        return replace(self, index=index, popularity=replace(self.popularity, log_shares=log_shares))

    def save(self, folder: Path) -> None:
        """Write the model, without the index it needs, into ``folder``."""
        artifact.save(
            folder,
            index=self.index,
            basis=self.basis,
            prior=self.prior,
            popularity=self.popularity,
            interval_widths=self.interval_widths,
            blend=asdict(self.blend),
        )

    @classmethod
    def load(cls, folder: Path, index: ItemIndex) -> Self:
        """Read what `save` wrote.

        Args:
            folder: The artifact.
            index: Of the retrieval version that the artifact was trained with.

        Raises:
            ArtifactError: A file is missing or damaged, or the index holds other items or vectors.
        """
        parts, blend = artifact.load(folder, index)
        return cls(
            index,
            parts.basis,
            parts.prior,
            parts.popularity,
            Blend(**blend),
            parts.interval_widths,
        )
