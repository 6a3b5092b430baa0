"""kill -9 of the controller at places of a short rollout: whoever drives next brings it to its end.

At every place of whole rollouts: ``tests/scenarios/test_killed_controller.py``.
"""

from __future__ import annotations

from dataclasses import replace

from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.contracts.specification.rollout_plan import RolloutStep
from tests.killed_controller import SECOND, base, killed_and_driven_on, places_of
from tests.rolled_out import PLAN, RANKING

SHORT = replace(
    PLAN, steps=(RolloutStep(weight_bp=10_000, minimum_samples=100),), watch_hours=0.01, deadline_hours=80.0
)


def test_killed_at_every_fifth_place(tmp_path):
    made = base(tmp_path / "base", SHORT)
    places = places_of(made, tmp_path / "whole", ())
    assert places > 15
    for place in range(0, places, 5):
        state, serving = killed_and_driven_on(made, tmp_path / f"at-{place}", place)
        assert (state.phase, serving) == (RolloutPhase.COMPLETED, {RANKING: SECOND}), place
