"""kill -9 of the controller at every place of whole rollouts, one after the other.

Whoever drives next brings each to its end: a healthy version becomes champion, an unhealthy one never stays,
an abort is honoured, and nothing is promoted that was not analysed (failure case 22).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamrec.contracts.errors import ConflictError
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.rollout.requests import Ask
from tests.killed_controller import FIRST, SECOND, base, killed_and_driven_on, places_of
from tests.rolled_out import OPS, PLAN, RANKING

WHOLE = replace(PLAN, shadow_hours=0.02, holdback_bp=500, holdback_days=1.0)
UNDONE = (RolloutPhase.ROLLED_BACK, RolloutPhase.ABORTED)


@pytest.mark.parametrize("fate", ["healthy", "unhealthy", "aborted"])
def test_at_every_place(tmp_path, fate):
    made = base(tmp_path / "base", WHOLE)
    wrong = [SECOND] if fate == "unhealthy" else []
    places = places_of(made, tmp_path / "whole", wrong)
    assert places > (10 if fate == "unhealthy" else 25)
    refused = []

    def abort(platform):
        try:
            platform.controller.request(made.rollout, Ask.ABORT, OPS)
        except ConflictError as error:
            refused.append(str(error))  # it was over already

    for place in range(places):
        between = abort if fate == "aborted" else None
        state, serving = killed_and_driven_on(
            made, tmp_path / f"at-{place}", place, wrong=wrong, between=between
        )
        if fate == "healthy" or (fate == "aborted" and state.phase is RolloutPhase.COMPLETED):
            assert (state.phase, serving) == (RolloutPhase.COMPLETED, {RANKING: SECOND}), place
        else:
            assert state.phase in UNDONE, place
            assert serving == {RANKING: FIRST}, place
    assert all("is completed" in why for why in refused)
    assert len(refused) < places / 3
