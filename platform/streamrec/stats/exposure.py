"""Who is shown: exposure of groups of items over served slates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


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
