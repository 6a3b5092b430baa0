"""Whom a unit meets over a whole rollout: from its first step to its end, holdback included."""

from __future__ import annotations

from dataclasses import replace

from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.contracts.traffic import Traffic, assigned
from streamrec.rollout.desired_traffic import desired
from tests.made_rollouts import a_move, a_rollout, after, ref

UNITS = 100_000
HELD_BP = 500
NEEDS = {ref("ranker@1"): {}, ref("ranker@2"): {}}


def test_no_unit_flips_back_over_every_step_and_arms_are_as_large_as_planned():
    plan = RolloutPlan(holdback_bp=HELD_BP)
    start = a_rollout(a_move(), plan=plan)
    course = [
        replace(start, phase=RolloutPhase.CANARY, step=step, phase_began_at=after(step))
        for step in range(len(plan.steps))
    ]
    course.append(replace(start, phase=RolloutPhase.COMPLETED))
    units = [f"user-{number}" for number in range(UNITS)]
    traffic: Traffic | None = None
    met: set[int] = set()
    held: set[int] | None = None
    for state in course:
        found = desired(traffic, [state], depends_on=NEEDS, loaded={}, now=after(60))
        traffic = Traffic(1 if traffic is None else traffic.revision + 1, found.slots, found.prepare)
        slot = traffic.slots["shop.ranking"]
        answers = [assigned(slot, unit) for unit in units]
        new = {number for number, (_, version) in enumerate(answers) if version == ref("ranker@2")}
        kept = {number for number, (role, _) in enumerate(answers) if role is ServingRole.HOLDBACK}
        assert met <= new, f"{len(met - new)} units were sent back in {state.phase} {state.weight_bp}"
        # Whoever is held back stays so from the first step to long after the end.
        assert held is None or kept == held
        share = (1.0 if state.phase is not RolloutPhase.CANARY else state.weight_bp / 10_000) * 0.95
        for arm, expected in ((new, share), (kept, HELD_BP / 10_000)):
            # A binomial bound that a right assignment misses in one of 100,000 tests.
            tolerance = 4.5 * (expected * (1.0 - expected) / UNITS) ** 0.5
            assert abs(len(arm) / UNITS - expected) <= tolerance
        met, held = new, kept
    assert held is not None
    assert len(met) + len(held) == UNITS
