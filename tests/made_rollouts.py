"""Rollouts for tests: a ranking slot, and one of retrieval with cold start, which move together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.models import ModelRef
from streamrec.contracts.results import Reason, Verdict
from streamrec.contracts.rollouts.evidence import RolloutEvidence, SlotEvidence
from streamrec.contracts.rollouts.state import Move, RolloutState
from streamrec.contracts.specification.rollout_plan import RolloutPlan, RolloutStep
from streamrec.rollout.analysis import Analysis
from streamrec.rollout.requests import Start, started
from streamrec.rollout.told_changes import By

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
BY = By("ana", ActorRole.SPOKE, "a better model")
PLAN = RolloutPlan(
    steps=(
        RolloutStep(weight_bp=1_000, minimum_samples=100, deadline_hours=2.0),
        RolloutStep(weight_bp=5_000, minimum_samples=100, deadline_hours=2.0),
        RolloutStep(weight_bp=10_000, minimum_samples=100, deadline_hours=2.0),
    ),
    minimum_step_minutes=10.0,
    deadline_hours=12.0,
    watch_hours=1.0,
)


def ref(text: str) -> ModelRef:
    return ModelRef.parse(text)


def a_move(
    slot: str = "shop.ranking", challenger: str = "ranker@2", champion: str | None = "ranker@1"
) -> Move:
    return Move(slot, ref(challenger), None if champion is None else ref(champion), None, 50.0)


def a_rollout(
    *moves: Move, plan: RolloutPlan = PLAN, without_canary: bool = False, name: str = "ranker-2-a1b2"
) -> RolloutState:
    """One that has just started."""
    start = Start(
        name=name,
        salt=f"salt-of-{name}",
        moves=moves or (a_move(),),
        plan=plan,
        without_canary=without_canary,
    )
    return started(start, BY, BEGAN).state


def after(minutes: float) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


def evidence_of(state: RolloutState, at: datetime, **changes) -> RolloutEvidence:
    """Every replica has loaded the challenger."""
    slots = {slot: SlotEvidence(loaded=True, replicas=2) for slot in state.slots}
    return RolloutEvidence(**({"at": at, "slots": slots} | changes))


def analysis_of(at: datetime, verdict: Verdict = Verdict.PASSED) -> Analysis:
    reasons = () if verdict is Verdict.PASSED else (Reason(f"is_{verdict.value}", "made_up", "made up"),)
    return Analysis(at=at, verdict=verdict, reasons=reasons)
