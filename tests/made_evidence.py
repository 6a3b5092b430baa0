"""Rollouts and what was counted of them, made for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.evidence import RolloutEvidence, SlotEvidence, StepEvidence
from streamrec.contracts.rollouts.state import Move, RolloutPhase, RolloutState
from streamrec.contracts.rollouts.tallies import Answers, latency_bucket
from streamrec.contracts.specification.rollout_plan import RolloutPlan, RolloutStep

BEGAN = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = BEGAN + timedelta(hours=1)
FAST_MS, SLOW_MS, LIMIT_MS = 10.0, 250.0, 50.0


def plan_of(*weights_bp, minimum_samples=100, **settings):
    """A plan of these steps, each with the same least samples."""
    steps = tuple(RolloutStep(weight_bp=weight, minimum_samples=minimum_samples) for weight in weights_bp)
    return RolloutPlan(steps=steps, **settings)


def move_of(slot="ranking", *, metric=None, empty=False, lower_is_better=False):
    """What a rollout does in a slot."""
    champion = None if empty else ModelRef.parse(f"{slot}@1")
    return Move(slot, ModelRef.parse(f"{slot}@2"), champion, metric, LIMIT_MS, lower_is_better)


def state_of(plan, phase=RolloutPhase.CANARY, *, step=0, moves=None, paused=False):
    """A rollout that stands there, since `BEGAN`."""
    return RolloutState(
        rollout="ranking-2",
        moves=moves or (move_of(),),
        plan=plan,
        salt="0123456789abcdef",
        phase=phase,
        step=step,
        paused=paused,
        waits_for=(),
        started_at=BEGAN,
        phase_began_at=BEGAN,
        by="anna",
        role=ActorRole.PLATFORM,
        reason="",
    )


def answers(asked, *, failed=0, malformed=0, late=0, degraded=0, slow=0):
    """Of so many requests so many went wrong; of the others so many were slow."""
    in_time = asked - failed - malformed - late
    latency = {
        str(latency_bucket(ms)): number
        for ms, number in ((FAST_MS, in_time - slow), (SLOW_MS, slow))
        if number
    }
    return Answers(asked, failed, malformed, late, degraded, 0, latency)


def evidence_of(*steps, watch=None, earlier=(), slot="ranking", at=LATER, **rest):
    """Of one slot; ``steps`` are `StepEvidence`."""
    found = SlotEvidence(tuple(steps), watch, tuple(earlier), loaded=True, replicas=2)
    return RolloutEvidence(at=at, slots={slot: found}, **rest)


def step_of(weight_bp, challenger, champion, **rest):
    """Of one step."""
    return StepEvidence(weight_bp=weight_bp, challenger=challenger, champion=champion, **rest)
