"""The decision of the controller, as a pure function: state and a window of evidence in, next state out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError
from streamrec.stats.exposure import gini_weights, next_pattern, prices_of, project_onto_permutohedron
from streamrec.stats.inequality import gini


@dataclass(frozen=True)
class ControlSettings:
    """How exposure is held at its target.

    Attributes:
        target_gini: Exposure Gini over the languages to hold; 0..1.
        gain: Change of the logarithm of the strength per unit of Gini above the target. Around a Gini of 0.3,
            doubling the strength takes off about 0.13 in the simulated world: a gain of 2.5 mends half of
            an error per window.
        maximum_log_step: Most that the logarithm of the strength may change per window: a broken window
            cannot do more harm than that.
        pattern_step: Step of `streamrec.stats.exposure.next_pattern`.
        minimum_requests: A window with fewer requests is too little evidence: nothing changes.
        minimum_strength, maximum_strength: Bounds of the strength, in NDCG, above 0. The upper one is what
            limits the relevance loss, which nothing measures online.
    """

    target_gini: float = 0.30
    gain: float = 2.5
    maximum_log_step: float = 0.35
    pattern_step: float = 0.5
    minimum_requests: int = 500
    minimum_strength: float = 1e-4
    maximum_strength: float = 0.02

    def __post_init__(self) -> None:
        if not 0.0 <= self.target_gini <= 1.0:
            raise InvalidInputError("target_gini", "must be in 0..1")
        for name in ("gain", "maximum_log_step", "pattern_step"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise InvalidInputError(name, "must be finite and above 0")
        if self.minimum_requests < 1:
            raise InvalidInputError("minimum_requests", "must be 1 or more")
        # A pattern spans at most 2, so prices stay within what a document may hold.
        if not 0.0 < self.minimum_strength <= self.maximum_strength <= 0.5:
            raise InvalidInputError("maximum_strength", "0 < minimum_strength <= maximum_strength <= 0.5")


@dataclass(frozen=True)
class ExposureWindow:
    """What was served during one stretch of time.

    Attributes:
        requests: Answers in it.
        exposure: Slate places by language; languages that the controller does not price are not counted.
    """

    requests: int
    exposure: Mapping[str, float]


@dataclass(frozen=True)
class ControlState:
    """All that the controller remembers; immutable.

    Attributes:
        languages: Length l, sorted, two or more: those whose exposure counts.
        pattern: Shape (l,): in the permutohedron of `gini_weights`.
        strength: Multiplier, in NDCG, above 0.
    """

    languages: tuple[str, ...]
    pattern: NDArray[np.float64]
    strength: float

    @property
    def prices(self) -> dict[str, float]:
        """What one shown item of each language is worth, in NDCG."""
        prices = prices_of(self.pattern, self.strength)
        return dict(zip(self.languages, prices.tolist(), strict=True))


class Decision(StrEnum):
    """What a window led to."""

    ADJUSTED = "adjusted"
    HELD_TOO_LITTLE_EVIDENCE = "held_too_little_evidence"
    LIMITED_BY_STRENGTH = "limited_by_strength"


@dataclass(frozen=True)
class Step:
    """The outcome of one window.

    Attributes:
        state: The next state; the same object where nothing was learned.
        decision: Why.
        gini: Of the window's exposure; None where there was too little of it.
    """

    state: ControlState
    decision: Decision
    gini: float | None


def initial_state(languages: Mapping[str, float], settings: ControlSettings, strength: float) -> ControlState:
    """Begin from the prices that were fitted offline.

    Args:
        languages: Fitted price by language, two or more; all zero where nothing had to be priced.
        settings: Bounds of the strength.
        strength: That the prices were fitted with; 0 where nothing had to be priced.

    Raises:
        InvalidInputError: Fewer than two languages, or a price or the strength is negative or not finite.
    """
    names = tuple(sorted(languages))
    prices = np.array([languages[name] for name in names], dtype=np.float64)
    if len(names) < 2:
        raise InvalidInputError("languages", "there is nothing to balance between fewer than two languages")
    if not (
        np.isfinite(prices).all() and (prices >= 0.0).all() and math.isfinite(strength) and strength >= 0.0
    ):
        raise InvalidInputError("languages", "prices and strength must be finite and not negative")
    pattern = np.zeros(len(names))
    if strength > 0.0:
        # The inverse of `prices_of`: patterns sum to zero.
        centred = (prices.mean() - prices) / strength
        pattern = project_onto_permutohedron(centred, gini_weights(len(names)))
    bounded = min(max(strength, settings.minimum_strength), settings.maximum_strength)
    return ControlState(names, pattern, bounded)


def step(settings: ControlSettings, state: ControlState, window: ExposureWindow) -> Step:
    """Decide on one window: a subgradient step on the pattern, an integral step on the log of the strength.

    Integral action alone: it has no steady-state error, and what it integrates is bounded (the pattern lies
    in a permutohedron, the strength in an interval), so it cannot wind up beyond what it could ever use.
    """
    exposure = np.array([window.exposure.get(name, 0.0) for name in state.languages], dtype=np.float64)
    usable = bool(np.isfinite(exposure).all() and (exposure >= 0.0).all() and exposure.sum() > 0.0)
    if window.requests < settings.minimum_requests or not usable:
        return Step(state, Decision.HELD_TOO_LITTLE_EVIDENCE, None)
    shares = exposure / exposure.sum()
    inequality = gini(shares)
    largest = settings.maximum_log_step
    change = settings.gain * (inequality - settings.target_gini)
    strength = state.strength * math.exp(max(min(change, largest), -largest))
    bounded = min(max(strength, settings.minimum_strength), settings.maximum_strength)
    limited = strength > settings.maximum_strength
    decision = Decision.LIMITED_BY_STRENGTH if limited else Decision.ADJUSTED
    pattern = next_pattern(state.pattern, shares, settings.pattern_step)
    return Step(replace(state, pattern=pattern, strength=bounded), decision, inequality)
