"""Is one arm, or one version, wrong too often? Evidence that may be looked at as often as one likes.

Everything here is a likelihood ratio of events among trials: the challenger's among the wrong answers of both
arms (each is the challenger's with the chance that a request is), or wrong answers among requests held
against a limit. Under the null hypothesis an event has at most the chance ``p``; under the alternative its
odds are ``r`` times as large, so its chance is ``r p / (1 + p (r - 1))``, and what was seen so far has the
ratio

    r ** events / (1 + p (r - 1)) ** trials

whose expectation never grows under the null, for any ``p`` that may change from trial to trial. So it does
not for a mixture over ``r`` either (Robbins 1970, "Statistical methods related to the law of the iterated
logarithm", sec. 2; for events of several arms Lindon and Malek 2022, "Anytime-valid inference for multinomial
count data", whose conditional test this is, with one-sided odds). By Ville's inequality the chance that
the mixture *ever* reaches ``1 / a`` is at most ``a``: however often one looks, whenever one stops.

Only sums are needed, not the order of events. Given how many requests each arm had, the challenger's share of
the wrong ones is hypergeometric; the ratio is convex in it, so its mean is at most that of the binomial used
here (Hoeffding 1963, "Probability inequalities for sums of bounded random variables", theorem 4).

It holds for requests that are independent. Where the wrong answers of one user come in bursts it does not:
`streamrec.rollout.simulation` measures what that costs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

ODDS: Final = (3.0, 8.0, 500.0)
"""How many times as often the alternative expects events: somewhat, clearly, and nothing but."""

ODDS_WEIGHTS: Final = (0.30, 0.60, 0.10)
"""Of ``ODDS`` in the mixture; decision 36 says why these."""

_LOG_ODDS: Final = np.log(np.array(ODDS))
_LESS_ONE: Final = np.array(ODDS) - 1.0
_LOG_WEIGHTS: Final = np.log(np.array(ODDS_WEIGHTS))

_DEVIATIONS: Final = 3.0
"""Standard deviations by which the share of requests may pass the planned one before it is believed."""


def odds_terms(events: ArrayLike, trials: ArrayLike, chance: ArrayLike) -> NDArray[np.float64]:
    """Logarithm of the likelihood ratio for each of ``ODDS``.

    Args:
        events: Shape (...): how many of the trials were events, from 0 to ``trials``.
        trials: The same shape.
        chance: Of an event under the null, from 0 to 1; the same shape or one that broadcasts.

    Returns:
        Shape (..., 3). Terms of separate trials add up.
    """
    count, of, null = (np.asarray(values, dtype=np.float64)[..., None] for values in (events, trials, chance))
    terms: NDArray[np.float64] = count * _LOG_ODDS - of * np.log1p(null * _LESS_ONE)
    return terms


def log_mixture(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the mixture, shape (...), of terms of the shape (..., 3)."""
    return log_sum(terms + _LOG_WEIGHTS)


def log_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``log(sum(exp(values)))`` over the last axis, without overflow; -inf where there is nothing."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], -np.inf)
    largest = values.max(axis=-1)
    finite = np.isfinite(largest)
    if finite.all():
        return _log_sum(values, largest)
    with np.errstate(divide="ignore"):
        return _log_sum(values, np.where(finite, largest, 0.0))


def _log_sum(values: NDArray[np.float64], base: NDArray[np.float64]) -> NDArray[np.float64]:
    summed: NDArray[np.float64] = base + np.log(np.exp(values - base[..., None]).sum(axis=-1))
    return summed


def log_mixture_of_starts(
    terms: NDArray[np.float64],
    log_starts: NDArray[np.float64],
    later: NDArray[np.float64],
    log_later: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Logarithm of the evidence of tests that begin at different times, each with a part of the budget.

    One long test is slow to find a fault that begins late: what came before speaks against it. So part of the
    budget goes to tests that begin anew (the mixture over the time of a change of Pollak and Siegmund 1975,
    with weights that add up to at most one, which keeps Ville's inequality).

    Args:
        terms: Shape (..., windows, 3): `odds_terms` of each window, in order of time.
        log_starts: Shape (windows,): logarithm of the weight of the test that begins with each.
        later: Shape (..., moments, 3): terms of what came after moments within the last window.
        log_later: Shape (moments,): logarithm of the weight of each of these.

    Returns:
        Shape (...). The weights of all tests that will ever begin must add up to at most 1.
    """
    since = np.flip(np.cumsum(np.flip(terms, axis=-2), axis=-2), axis=-2)
    started = log_mixture(since) + log_starts
    afterwards = log_mixture(later) + log_later
    return log_sum(np.concatenate((started, afterwards), axis=-1))


def share_under_null(
    asked: ArrayLike, others: ArrayLike, planned: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Chance that a request was the challenger's: the planned one, or what was seen where that is more.

    Buckets hold equal shares of units, not of requests: where heavy users happen to be in the challenger's,
    more of the wrong answers are its own through no fault of it. So the share that was seen is believed once
    it passes the plan by three standard deviations, less these. A smaller one is not: the test then errs on
    the side of the challenger.

    Args:
        asked: Shape (...): requests of the challenger.
        others: The same shape: requests of what it is compared with.
        planned: Its share by design; NaN where there is none, as in a shadow: then what was seen is taken.
    """
    own, rest = np.asarray(asked, dtype=np.float64), np.asarray(others, dtype=np.float64)
    design = np.asarray(planned, dtype=np.float64)
    total = np.maximum(own + rest, 1.0)
    seen = own / total
    surely = seen - _DEVIATIONS * np.sqrt(np.maximum(design * (1.0 - design), 0.0) / total)
    return np.where(np.isnan(design), seen, np.fmax(design, surely))
