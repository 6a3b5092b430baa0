"""Choosing how much taste and each click count, on items that nothing was trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.assessment import Cases
from services.recommendations.cold_start.model import Blend, ColdStartModel
from streamrec.training.ranking_metrics import ndcg_at

CLICK_WEIGHTS: Final = (1.0, 0.5, 0.25)
"""Tried in turn."""

TASTE_WEIGHTS: Final = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.45, 0.7, 1.0)
"""Tried in turn; 1 is Bayes' rule, 0 is popularity alone."""

SEGMENT_WEIGHTS: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0)
"""Tried in turn; without 0, which would end exploration where least is known."""

_DEPTH: Final = 100
"""Of the NDCG that decides: ten times a slate's depth finds more held-out items, so chance decides less."""

_FILTERED: Final = np.float32(-1e6)


def fit_blend(
    model: ColdStartModel,
    cases: Cases,
    *,
    pool: int,
    rng: np.random.Generator,
) -> Blend:
    """Choose the weights of clicks, segment and taste by NDCG@100 of the next item.

    Of the weights of taste the smallest is taken whose NDCG is within one standard error of the best (the
    one-standard-error rule: Breiman et al. 1984, "Classification and Regression Trees", sec. 3.4.3). The
    curve is flat at its top, and a log that relevance order has written favours more of what a user has just
    taken up; in the simulated closed loop the smaller weight keeps more users
    (`services.recommendations.evaluation.closed_loop_arms`).

    The likelihood of the next item is not used: item vectors have heavier tails than a Gaussian, a few
    far-off items decide it, and it makes the weight of taste small (on MovieLens-small 0.07 instead of 0.7),
    which loses most of the gain over popularity.

    Args:
        model: With the blend's ``exploration`` to fit for; its other weights are not looked at.
        cases: Short histories, and the item that each user took up next.
        pool: The ranking is over this many of the most popular items in the user's language, and the target.
        rng: Source of the draws; all weights see the same ones.
    """
    seed = int(rng.integers(2**32))
    # Distinct known clicks of each case: the n of `Blend`.
    clicks = np.array([len(model.known_rows(user.history)) for user in cases.users])
    owners = np.unique([user.user_id for user in cases.users], return_inverse=True)[1]
    best, best_value = model.blend, -np.inf
    for click_weight in CLICK_WEIGHTS:
        blend = replace(model.blend, click_weight=click_weight)
        draws = np.random.default_rng(seed)
        features = _features(replace(model, blend=blend), cases, pool, draws)
        # Cases without a click see the segment's weight alone, so it is chosen on them alone.
        without = _Curve.over("segment_weight", SEGMENT_WEIGHTS, blend, features, clicks, owners, clicks == 0)
        blend = replace(blend, segment_weight=without.best)
        after = _Curve.over("taste_weight", TASTE_WEIGHTS, blend, features, clicks, owners, clicks > 0)
        if after.highest > best_value:
            best_value = after.highest
            best = replace(blend, taste_weight=after.smallest_within_one_error)
    return best


@dataclass(frozen=True)
class _Curve:
    """NDCG@100 of the targets by weight: mean over users, and the standard error of that mean."""

    tried: tuple[float, ...]
    means: NDArray[np.float64]
    errors: NDArray[np.float64]

    @classmethod
    def over(
        cls,
        name: str,
        tried: tuple[float, ...],
        blend: Blend,
        features: tuple[NDArray[np.float32], NDArray[np.float32]],
        clicks: NDArray[np.int64],
        owners: NDArray[np.int64],
        chosen: NDArray[np.bool_],
    ) -> _Curve:
        """Try values of the field ``name`` of ``blend`` on the chosen cases."""
        if not chosen.any():
            return cls(tried, np.zeros(len(tried)), np.zeros(len(tried)))
        bases, tastes = (feature[chosen] for feature in features)
        users = np.unique(owners[chosen], return_inverse=True)[1]
        cases_of = np.bincount(users)
        means, errors = [], []
        for value in tried:
            changed = replace(blend, **{name: value})
            weights = np.array([changed.weight_after(n) for n in clicks[chosen].tolist()], dtype=np.float32)
            scores = bases + weights[:, None] * tastes
            # The target stands in the last column; its twin in the pool does not outrank it.
            ranks = (scores[:, :-1] > scores[:, -1:]).sum(axis=1).astype(np.int32)
            by_user = np.bincount(users, ndcg_at(ranks, _DEPTH)) / cases_of
            means.append(by_user.mean())
            errors.append(by_user.std() / np.sqrt(len(by_user)))
        return cls(tried, np.array(means), np.array(errors))

    @property
    def highest(self) -> float:
        """Value of the best weight."""
        return float(self.means.max())

    @property
    def best(self) -> float:
        """The weight with the highest value; the smallest of several."""
        return self.tried[int(self.means.argmax())]

    @property
    def smallest_within_one_error(self) -> float:
        """The smallest weight that is not worse than the best by more than a standard error."""
        best = int(self.means.argmax())
        enough = self.means >= self.means[best] - self.errors[best]
        return self.tried[int(enough.argmax())]


def _features(
    model: ColdStartModel,
    cases: Cases,
    pool: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log popularity and taste of the pool and, last, of the target; each of shape (u, pool + 1)."""
    width = min(pool, model.leaders.shape[1])
    shares, tastes = np.empty((2, len(cases.users), width + 1), dtype=np.float32)
    for row, (user, target) in enumerate(zip(cases.users, cases.targets, strict=True)):
        posterior = model.posterior(user).explored(model.blend.exploration, rng)
        group = model.popularity.group(user.segment.language)
        rows = np.append(model.leaders[group, :width], target)
        shares[row] = model.popularity.log_shares[group, rows]
        tastes[row] = model.taste(posterior, rows)
        shares[row, :-1][np.isin(rows[:-1], cases.seen[row])] = _FILTERED
    return shares, tastes
