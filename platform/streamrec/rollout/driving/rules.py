"""The pure functions that a controller is driven by, as one value: what it does itself is only to apply them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from streamrec.contracts.rollouts.evidence import RolloutEvidence
from streamrec.contracts.rollouts.state import Move, RolloutState
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.rollout.driving.reconciliation import DesiredRule
from streamrec.rollout.driving.transitions import Transition
from streamrec.rollout.told_changes import By


class StartRule(Protocol):
    """`streamrec.rollout.requests.started`."""

    def __call__(
        self,
        moves: Sequence[Move],
        plan: RolloutPlan,
        by: By,
        now: datetime,
        name: str,
        salt: str,
        retries: str | None = None,
    ) -> RolloutState:
        """The first state of a rollout. Raises `InvalidInputError`."""
        ...


@dataclass(frozen=True, slots=True)
class RolloutRules:
    """What decides.

    Attributes:
        step: What the evidence makes of a state: `streamrec.rollout.step.step`.
        asked: What somebody's request makes of it, by the name of the request:
            `streamrec.rollout.requests.asked`.
        started: The first state of a rollout.
        desired: What should serve.
    """

    step: Callable[[RolloutState, RolloutEvidence, datetime], Transition]
    asked: Callable[[RolloutState, str, By, datetime], Transition]
    started: StartRule
    desired: DesiredRule
