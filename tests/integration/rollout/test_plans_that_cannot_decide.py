"""A rollout whose plan asks for more than its slot's traffic can show is refused before it begins."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.rollout_plan import OutcomeCriterion
from streamrec.rollout.traffic_needs import SeenTraffic
from tests.rolled_out import ANA, NOON, OPS, PLAN, RANKING, Platform

OUTCOME = replace(PLAN, outcome=OutcomeCriterion())


@pytest.fixture
def platform(tmp_path):
    made = Platform(tmp_path)
    made.writer.promote([made.register("ranking")], actor="ana")
    made.now = NOON + timedelta(minutes=5)
    made.outcomes.traffic[RANKING] = SeenTraffic(240.0, 7.0)
    return made


def test_a_plan_that_its_traffic_cannot_decide_is_refused_and_nothing_is_written(platform):
    second = platform.register("ranking")
    with pytest.raises(InvalidInputError, match="100 requests take 5 days at 10 % of this slot") as refused:
        platform.controller.start([second], OUTCOME, ANA)
    assert refused.value.field == "rollout.steps.0.minimum_samples"
    assert platform.controller.book.active() == []
    assert platform.controller.needs(RANKING, OUTCOME, None).to_json()["verdict"] == "failed"
    # In an emergency the platform role goes without a canary, and without what one would show.
    assert platform.controller.promote([second], OPS).slots == (RANKING,)


def test_without_an_outcome_the_deadline_alone_ends_what_nobody_asks(platform):
    second = platform.register("ranking")
    assert platform.controller.start([second], PLAN, ANA).slots == (RANKING,)
