from __future__ import annotations

from dataclasses import replace

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.rollout_plan import OutcomeCriterion, RolloutPlan, RolloutStep
from streamrec.rollout.traffic_needs import SeenTraffic, check_can_decide, needs
from streamrec.stats.clustered_ratios import RatioMoments

STEPS = (
    RolloutStep(weight_bp=5_000, minimum_samples=1_000, deadline_hours=24.0 * 14),
    RolloutStep(weight_bp=10_000, minimum_samples=1_000, deadline_hours=24.0),
)
PLAN = RolloutPlan(steps=STEPS, deadline_hours=24.0 * 20, outcome=OutcomeCriterion(margin=0.02))


def clicks(requests: int, rate: float = 0.05) -> RatioMoments:
    """Each request by another user."""
    x = rate * requests
    return RatioMoments(requests, x, requests, x, x, requests)


def seen(requests_per_day: float, days: float = 7.0) -> SeenTraffic:
    return SeenTraffic(requests_per_day, days, clicks(round(requests_per_day * days)), "click_rate")


def test_the_case_of_the_books() -> None:
    found = needs(PLAN, "shop.ranking", seen(40_000))
    assert found.verdict is Verdict.FAILED
    assert found.outcome is not None
    assert found.outcome.samples_per_arm == pytest.approx(745_000, rel=0.005)
    assert found.outcome.samples_per_day == 20_000
    assert found.outcome.days == pytest.approx(37.3, abs=0.1)
    (reason,) = found.reasons
    assert reason.message.startswith("2 % off click_rate of 0.05 takes 745,")
    for part in ("one-sided 2.5 %, power 80 %", "at 50 %", "20,000 a day: 38 days", "may last 14 days"):
        assert part in reason.message
    with pytest.raises(InvalidInputError, match="Drop the outcome from the plan, widen") as refused:
        check_can_decide(found)
    assert refused.value.field == "rollout.outcome"


def test_what_the_refusal_names_is_enough_and_a_bit_less_is_not() -> None:
    found = needs(PLAN, "shop.ranking", seen(40_000)).outcome
    assert found is not None
    assert found.smallest_margin is not None
    for margin, verdict in (
        (found.smallest_margin, Verdict.PASSED),
        (found.smallest_margin - 0.001, Verdict.FAILED),
    ):
        plan = replace(PLAN, outcome=OutcomeCriterion(margin=margin))
        assert needs(plan, "shop.ranking", seen(40_000)).verdict is verdict
    dropped = needs(replace(PLAN, outcome=None), "shop.ranking", seen(40_000))
    assert (dropped.verdict, dropped.outcome) == (Verdict.PASSED, None)
    check_can_decide(dropped)


def test_more_traffic_decides_sooner_and_earlier_steps_count() -> None:
    assert needs(PLAN, "shop.ranking", seen(200_000)).verdict is Verdict.PASSED
    earlier = RolloutStep(weight_bp=2_500, minimum_samples=300_000, deadline_hours=24.0 * 14)
    both = needs(replace(PLAN, steps=(earlier, *STEPS)), "shop.ranking", seen(200_000))
    alone = needs(PLAN, "shop.ranking", seen(200_000))
    assert both.outcome is not None
    assert alone.outcome is not None
    # 6 days at 25 % say as much as 4.5 days at 50 %: what is needed takes 7.5.
    assert alone.outcome.days == pytest.approx(7.45, abs=0.01)
    assert both.outcome.days == pytest.approx(7.45 - 4.5, abs=0.01)
    assert both.days == pytest.approx(6.0 + both.outcome.days + 0.00694, abs=0.01)
    assert "champion after 9 days" in both.in_words()[-1]


def test_users_who_come_often_take_more_samples() -> None:
    same = needs(PLAN, "shop.ranking", seen(40_000)).outcome
    # Four requests of each user, all of them clicked or none: a quarter of the information.
    x = 0.05 * 280_000
    alike = RatioMoments(70_000, x, 280_000.0, 4 * x, 4 * x, 4 * 280_000.0)
    clustered = needs(PLAN, "shop.ranking", SeenTraffic(40_000, 7.0, alike, "click_rate")).outcome
    assert same is not None
    assert clustered is not None
    assert clustered.samples_per_arm / same.samples_per_arm == pytest.approx(4.0, rel=0.01)


def test_a_step_whose_samples_cannot_come_is_refused() -> None:
    steps = (replace(STEPS[0], weight_bp=100, minimum_samples=10_000, deadline_hours=24.0), *STEPS)
    found = needs(replace(PLAN, steps=steps, outcome=None), "shop.ranking", seen(1_000))
    assert found.verdict is Verdict.FAILED
    assert found.reasons[0].path == "steps.0.minimum_samples"
    assert "10,000 requests take 1,000 days at 1 %" in found.reasons[0].message


def test_what_the_log_does_not_say_refuses_nothing_and_says_so() -> None:
    silent = needs(PLAN, "shop.ranking", SeenTraffic(0.0, 7.0, None, "click_rate"))
    assert (silent.verdict, silent.reasons[0].code) == (Verdict.INCONCLUSIVE, "no_traffic")
    unknown = needs(PLAN, "shop.ranking", SeenTraffic(40_000, 7.0, None, "click_rate"))
    assert (unknown.verdict, unknown.reasons[0].code) == (Verdict.INCONCLUSIVE, "outcome_unknown")
    for found in (silent, unknown):
        check_can_decide(found)
        assert found.to_json()["schema"] == "streamrec.plan_needs.v1"


def test_a_plan_that_can_never_decide_is_no_plan() -> None:
    with pytest.raises(InvalidInputError, match="plan of one step") as refused:
        RolloutPlan(steps=STEPS[1:], outcome=OutcomeCriterion())
    assert refused.value.field == "outcome"
