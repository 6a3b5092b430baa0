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
            limits the relevance loss where it is not measured online.
        maximum_relevance_loss: Where the loss is measured, the strength yields above this, whatever the Gini.
        relevance_gain: Change of the logarithm of the strength per share of the relevance bound that is left.
            The loss grows with about the 1.7th power of the strength: 0.4 mends two thirds of an error.
    """

    target_gini: float = 0.30
    gain: float = 2.5
    maximum_log_step: float = 0.35
    pattern_step: float = 0.5
    minimum_requests: int = 500
    minimum_strength: float = 1e-4
    maximum_strength: float = 0.02
    maximum_relevance_loss: float = 0.02
    relevance_gain: float = 0.4

    def __post_init__(self) -> None:
        for name in ("target_gini", "maximum_relevance_loss"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidInputError(name, "must be in 0..1")
        for name in ("gain", "maximum_log_step", "pattern_step", "relevance_gain"):
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
        relevance_loss: Share of the expected NDCG that re-ranking cost; None where nobody measured it.
    """

    requests: int
    exposure: Mapping[str, float]
    relevance_loss: float | None = None


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
    LIMITED_BY_RELEVANCE = "limited_by_relevance"
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
    Two such loops, one for the Gini and one for the relevance bound, and the milder one acts.
    """
    exposure = np.array([window.exposure.get(name, 0.0) for name in state.languages], dtype=np.float64)
    usable = bool(np.isfinite(exposure).all() and (exposure >= 0.0).all() and exposure.sum() > 0.0)
    if window.requests < settings.minimum_requests or not usable:
        return Step(state, Decision.HELD_TOO_LITTLE_EVIDENCE, None)
    shares = exposure / exposure.sum()
    inequality = gini(shares)
    largest = settings.maximum_log_step
    wanted = min(settings.gain * (inequality - settings.target_gini), largest)
    allowed = _allowed_change(settings, window.relevance_loss)
    decision = Decision.LIMITED_BY_RELEVANCE if allowed < wanted else Decision.ADJUSTED
    strength = state.strength * math.exp(max(min(wanted, allowed), -largest))
    bounded = min(max(strength, settings.minimum_strength), settings.maximum_strength)
    if decision is Decision.ADJUSTED and strength > settings.maximum_strength:
        decision = Decision.LIMITED_BY_STRENGTH
    pattern = next_pattern(state.pattern, shares, settings.pattern_step)
    return Step(replace(state, pattern=pattern, strength=bounded), decision, inequality)


def _allowed_change(settings: ControlSettings, loss: float | None) -> float:
    """Most that the log of the strength may grow at this relevance loss: none at the limit, less beyond it.

    What cannot be believed counts as too costly: pressure is only for those who know what it costs.
    """
    if loss is None:
        return math.inf
    if not math.isfinite(loss):
        return -settings.maximum_log_step
    return settings.relevance_gain * (1.0 - loss / max(settings.maximum_relevance_loss, 1e-9))
