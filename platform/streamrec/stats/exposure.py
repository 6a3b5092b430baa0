"""Who is shown: exposure of groups of items over served slates, and what evens it out at the least cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamrec.stats.inequality import gini


def language_exposure(
    slates: Iterable[Sequence[str]],
    language_of: Mapping[str, str],
    languages: Sequence[str],
    *,
    position_weights: Sequence[float] | None = None,
) -> NDArray[np.float64]:
    """Exposure of each creator language: how often its items were shown.

    Args:
        slates: Item ids of each slate, first position first.
        language_of: Creator language by item id.
        languages: All languages to account for, distinct; one that is never shown has an exposure of zero.
            Items of other languages, or of none, are not counted.
        position_weights: Attention that each position gets (Singh and Joachims 2018, "Fairness of exposure in
            rankings", sec. 3.1); positions beyond its end get none. Every position counts 1 when None.

    Returns:
        Shape (len(languages),), in their order; feed it to `streamrec.stats.inequality.gini`.

    Raises:
        ValueError: ``languages`` repeats itself, or a weight is negative or not finite.
    """
    position_of = {language: position for position, language in enumerate(languages)}
    if len(position_of) != len(languages):
        raise ValueError("a language stands in languages more than once")
    weights = None if position_weights is None else np.asarray(position_weights, dtype=np.float64)
    if weights is not None and not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("position weights must be finite and not negative")
    exposure = np.zeros(len(languages))
    for slate in slates:
        for place, item_id in enumerate(slate if weights is None else slate[: len(weights)]):
            position = position_of.get(language_of.get(item_id, ""))
            if position is not None:
                exposure[position] += 1.0 if weights is None else weights[place]
    return exposure


@dataclass(frozen=True)
class GroupExposure:
    """How exposure is spread over creators.

    Attributes:
        groups: Creators of the catalogue.
        gini: Gini of the exposure over all of them; None where nothing was shown.
        exposed_share: Share of them that was shown at all.
        top_decile_share: Share of the exposure that the most shown tenth of them has (at least one); None
            where nothing was shown.
    """

    groups: int
    gini: float | None
    exposed_share: float
    top_decile_share: float | None


def group_exposure(slates: Iterable[Sequence[str]], group_of: Mapping[str, str]) -> GroupExposure:
    """Measure the exposure of creators (or any other group of items); every position counts once.

    Args:
        slates: Item ids of each slate.
        group_of: Creator by item id, of the whole catalogue: a creator who is never shown counts as well.
            Shown items that are not in it are not counted.

    Raises:
        ValueError: ``group_of`` is empty.
    """
    groups = sorted(set(group_of.values()))
    if not groups:
        raise ValueError("no groups: exposure cannot be spread over nobody")
    shown = np.sort(language_exposure(slates, group_of, groups))
    total = float(shown.sum())
    tenth = max(1, len(groups) // 10)
    return GroupExposure(
        groups=len(groups),
        gini=gini(shown) if total > 0 else None,
        exposed_share=float((shown > 0).mean()),
        top_decile_share=float(shown[-tenth:].sum() / total) if total > 0 else None,
    )


def gini_weights(count: int) -> NDArray[np.float64]:
    """Weights w, rising, with ``gini(x) = max over permutations of w . x`` for shares x of n groups.

    Shape (n,): ``(2 i - n - 1) / n``. The Gini of shares is thus the support function of the permutohedron of
    w, hence convex, and the weights in the order of x are a subgradient of it.
    """
    return (2.0 * np.arange(1, count + 1) - count - 1.0) / count


def project_onto_permutohedron(
    point: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the nearest point of the convex hull of all permutations of ``weights``.

    By isotonic regression (Lim and Wright 2016, "Efficient Bregman projections onto the permutahedron",
    sec. 3).

    Args:
        point: Shape (n,).
        weights: Shape (n,), in any order.
    """
    order = np.argsort(-point, kind="stable")
    falling = np.sort(weights)[::-1]
    projected = np.empty_like(point, dtype=np.float64)
    projected[order] = point[order] - _falling_regression(point[order] - falling)
    return projected


def next_pattern(
    pattern: NDArray[np.float64], exposure: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """One step of projected subgradient ascent on the dual of "relevance under a bound on the Gini".

    Over-exposed groups rise in the pattern, under-exposed ones fall; at rest the pattern is a subgradient of
    the Gini at the exposure that it brings about (Boyd and Vandenberghe 2004, "Convex optimization",
    sec. 5.6).

    Args:
        pattern: Shape (n,), in the permutohedron of `gini_weights`; zeros to begin with.
        exposure: Shape (n,), shares.
        step: Step size, above 0.
    """
    moved = pattern + step * (exposure - 1.0 / len(pattern))
    return project_onto_permutohedron(moved, gini_weights(len(pattern)))


def prices_of(pattern: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Prices of exposure, shape (n,), not negative: the most over-exposed group has none."""
    prices: NDArray[np.float64] = strength * (pattern.max() - pattern)
    return prices


def _falling_regression(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nearest non-increasing sequence: pool adjacent violators (Barlow et al. 1972, sec. 1.2)."""
    means: list[float] = []
    sizes: list[int] = []
    for value in values.tolist():
        means.append(value)
        sizes.append(1)
        while len(means) > 1 and means[-2] < means[-1]:
            mean, size = means.pop(), sizes.pop()
            means[-1] = (means[-1] * sizes[-1] + mean * size) / (sizes[-1] + size)
            sizes[-1] += size
    return np.repeat(means, sizes)
