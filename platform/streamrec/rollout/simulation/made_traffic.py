"""Requests, answers and outcomes as they would be counted, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

from streamrec.contracts.rollouts.evidence import UnitSums
from streamrec.contracts.rollouts.tallies import Answers, latency_bucket
from streamrec.rollout.analysis.windows import ANSWERED, ASKED, COUNTS, DEGRADED, SLOW, WRONG

SLOW_LIMIT_MS: Final = 50.0
_FAST: Final = str(latency_bucket(10.0))
_TOO_SLOW: Final = str(latency_bucket(250.0))

_LARGEST_VISIT: Final = 12
_REQUESTS_OF_A_USER: Final = 3.0
_ALIKE: Final = 40.0
"""How alike users are: the sum of the parameters of the beta distribution of their click rates."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How a version answers.

    Attributes:
        wrong: Share of requests that fail, are malformed or late.
        slow: Share of answers over the latency limit.
        degraded: Share of answers that are less than they should be.
    """

    wrong: float = 0.005
    slow: float = 0.005
    degraded: float = 0.01


def drawn_counts(
    rng: np.random.Generator, asked: NDArray[np.int64], rates: Rates, *, axis: int = 0
) -> NDArray[np.float64]:
    """Counts that have grown with requests.

    Args:
        rng: Source of all draws.
        asked: How many requests came between one look and the next.
        rates: Of the version.
        axis: Of ``asked`` along which time runs.

    Returns:
        Shape of ``asked`` with an axis of COUNTS at the end: totals at each look.
    """
    wrong = rng.binomial(asked, rates.wrong)
    answered = asked - wrong
    found = np.empty((*asked.shape, COUNTS))
    found[..., ASKED] = asked
    found[..., WRONG] = wrong
    found[..., ANSWERED] = answered
    found[..., SLOW] = rng.binomial(answered, rates.slow)
    found[..., DEGRADED] = rng.binomial(asked, rates.degraded)
    return found.cumsum(axis=axis)


def answers_of(counts: NDArray[np.float64]) -> Answers:
    """One arm's counts, shape (COUNTS,), as a service tells them."""
    slow, fast = int(counts[SLOW]), int(counts[ANSWERED] - counts[SLOW])
    latency = {name: number for name, number in ((_FAST, fast), (_TOO_SLOW, slow)) if number}
    return Answers(
        asked=int(counts[ASKED]), failed=int(counts[WRONG]), degraded=int(counts[DEGRADED]), latency=latency
    )


@dataclass(frozen=True, slots=True)
class UserKinds:
    """Users by how many requests they make and how often they click: draws of many users at once.

    Attributes:
        requests, clicks: Shape (kinds,).
        shares: Shape (kinds,); of users.
    """

    requests: NDArray[np.float64]
    clicks: NDArray[np.float64]
    shares: NDArray[np.float64]

    @property
    def requests_each(self) -> float:
        """Of a user, on average."""
        return float(self.requests @ self.shares)

    def sums(self, rng: np.random.Generator, users: int) -> UnitSums:
        """Sums over so many users, drawn at random."""
        drawn = rng.multinomial(users, self.shares).astype(np.float64)
        x, y = self.clicks, self.requests
        values = (drawn @ x, drawn @ y, drawn @ (x * x), drawn @ (x * y), drawn @ (y * y))
        return UnitSums(users, *map(float, values))


@cache
def clicking_users(click_rate: float) -> UserKinds:
    """Users whose own click rates vary about ``click_rate`` (beta-binomial), some with many requests."""
    requests, clicks, shares = [], [], []
    visits = np.arange(1, _LARGEST_VISIT + 1)
    weights = (1.0 - 1.0 / _REQUESTS_OF_A_USER) ** visits
    a, b = click_rate * _ALIKE, (1.0 - click_rate) * _ALIKE
    for visit, weight in zip(visits, weights / weights.sum(), strict=True):
        taken = np.arange(visit + 1)
        choices = gammaln(visit + 1) - gammaln(taken + 1) - gammaln(visit - taken + 1)
        chance = np.exp(choices + betaln(taken + a, visit - taken + b) - betaln(a, b))
        requests.append(np.full(visit + 1, float(visit)))
        clicks.append(taken.astype(np.float64))
        shares.append(weight * chance / chance.sum())
    every = np.concatenate(shares)
    return UserKinds(np.concatenate(requests), np.concatenate(clicks), every / every.sum())


def added(first: UnitSums, second: UnitSums) -> UnitSums:
    """Sums over the users of both."""
    return UnitSums(
        first.units + second.units,
        first.x + second.x,
        first.y + second.y,
        first.xx + second.xx,
        first.xy + second.xy,
        first.yy + second.yy,
    )
