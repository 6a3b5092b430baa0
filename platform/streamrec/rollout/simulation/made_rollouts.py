"""States of made-up rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.evidence import RolloutEvidence, SlotEvidence
from streamrec.contracts.rollouts.state import Move, RolloutPhase, RolloutState
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.rollout.simulation.made_traffic import SLOW_LIMIT_MS

SLOT: Final = "simulated"
BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)

_MOVE: Final = Move(
    SLOT, ModelRef.parse("simulated@2"), ModelRef.parse("simulated@1"), "simulated_clicks", SLOW_LIMIT_MS
)


def made_rollout(
    plan: RolloutPlan, phase: RolloutPhase = RolloutPhase.PREPARING, *, step: int = 0
) -> RolloutState:
    """A rollout of one slot that entered the phase at `BEGAN`."""
    return RolloutState(
        rollout="simulated",
        moves=(_MOVE,),
        plan=plan,
        salt="simulated-salt-0",
        phase=phase,
        step=step,
        paused=False,
        waits_for=(),
        started_at=BEGAN,
        phase_began_at=BEGAN,
        by="simulation",
        role=ActorRole.PLATFORM,
        reason="simulated",
    )


def made_evidence(at: datetime, seen: SlotEvidence) -> RolloutEvidence:
    """Evidence of the one slot, whose replicas have all loaded the challenger."""
    return RolloutEvidence(at=at, slots={SLOT: replace(seen, loaded=True, replicas=2)})


def dyadic_ages(looks: int) -> Sequence[int]:
    """How many looks ago the moments are that are kept: 1, 2, 4 and so on, at most 8."""
    return [2**power for power in range(8) if 2**power < looks]
