"""Challengers whose users click less, at a canary of 50 %: what becomes of them up to the planned sample?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

import numpy as np

from streamrec.contracts.results import Verdict
from streamrec.contracts.rollouts.evidence import SlotEvidence, StepEvidence, UnitSums
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.contracts.rollouts.tallies import Answers
from streamrec.contracts.specification.rollout_plan import OutcomeCriterion, RolloutPlan, RolloutStep
from streamrec.contracts.units import BASIS_POINTS
from streamrec.rollout.analysis import analyse
from streamrec.rollout.simulation.made_rollouts import BEGAN, made_evidence, made_rollout
from streamrec.rollout.simulation.made_traffic import added, clicking_users
from streamrec.stats.sample_sizes import requests_per_arm

CLICK_RATE: Final = 0.05
OUTCOME: Final = OutcomeCriterion(margin=0.02, confidence=0.975, power=0.8)
PLAN: Final = RolloutPlan(
    steps=(RolloutStep(weight_bp=5_000), RolloutStep(weight_bp=BASIS_POINTS)), outcome=OUTCOME
)
LOSSES: Final = (0.0, 0.02, 0.05, 0.10)
"""As shares of the click rate; 0.02 is just the margin."""

_LOOKS: Final = 12
_MOST_LOOKS: Final = 40


class End(StrEnum):
    """What became of a rollout."""

    HARM = "harm"
    NOT_SHOWN = "not_shown"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True)
class OutcomeRun:
    """One run.

    Attributes:
        end: What became of it.
        requests: Of the challenger until then.
    """

    end: End
    requests: int


def one_outcome_run(loss: float, rng: np.random.Generator) -> OutcomeRun:
    """Draw users of both arms until the analysis decides.

    Args:
        loss: Share of the click rate that the challenger loses.
        rng: Source of all draws.

    Raises:
        RuntimeError: It decides nothing though three times the planned sample has come.
    """
    state = made_rollout(PLAN, RolloutPhase.CANARY)
    champion, challenger = clicking_users(CLICK_RATE), clicking_users(CLICK_RATE * (1.0 - loss))
    planned = requests_per_arm(CLICK_RATE, OUTCOME.margin, confidence=OUTCOME.confidence, power=OUTCOME.power)
    users = int(planned / champion.requests_each / _LOOKS)
    own, other = UnitSums(), UnitSums()
    for look in range(1, _MOST_LOOKS + 1):
        own, other = added(own, challenger.sums(rng, users)), added(other, champion.sums(rng, users))
        now = BEGAN + timedelta(hours=look)
        entry = StepEvidence(
            weight_bp=5_000,
            challenger=Answers(asked=int(own.y)),
            champion=Answers(asked=int(other.y)),
            outcome_challenger=own,
            outcome_champion=other,
        )
        found = analyse(state, made_evidence(now, SlotEvidence((entry,))), now)
        if found.verdict is Verdict.PASSED:
            return OutcomeRun(End.PROMOTED, int(own.y))
        if found.verdict is Verdict.FAILED:
            harm = any(reason.code == "harm_outcome" for reason in found.reasons)
            return OutcomeRun(End.HARM if harm else End.NOT_SHOWN, int(own.y))
    raise RuntimeError(f"nothing was decided after {int(own.y):,} requests: {found.reasons}")
