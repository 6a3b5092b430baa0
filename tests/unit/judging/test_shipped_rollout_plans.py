"""What the specifications in the package say about rollouts: metrics that exist, plans that can end."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.recommendations.judging.stage_specifications import stage_specifications
from streamrec.command_line.metric_parts import metric_catalogue
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.specification.model_specification import SPECIFICATION_FILE, ModelSpecification
from streamrec.rollout.outcomes import EventOutcomes

SERVICES = Path(__file__).resolve().parents[3] / "services"
SHIPPED = {
    path.parent.name: ModelSpecification.from_yaml(path.read_bytes())
    for path in sorted(SERVICES.rglob(SPECIFICATION_FILE))
}
DEMO_REQUESTS_PER_HOUR = 30 * 3600


def test_all_are_found():
    assert set(SHIPPED) == {"clicks", "toxicity", *stage_specifications()}


@pytest.mark.parametrize("name", [name for name, one in SHIPPED.items() if one.outcome_metric is not None])
def test_an_outcome_metric_is_one_that_a_rollout_can_compare(name, tmp_path):
    catalogue = metric_catalogue(Workspace(tmp_path))
    EventOutcomes(catalogue, None).check(SHIPPED[name].outcome_metric)


def test_every_spec_of_a_model_whose_answers_people_react_to_names_one():
    assert [name for name, one in SHIPPED.items() if one.outcome_metric is None] == ["toxicity"]


def test_the_stages_have_one_plan_that_the_traffic_of_the_demo_can_finish_in_an_hour():
    plans = [one.rollout for one in stage_specifications().values()]
    assert all(plan == plans[0] for plan in plans)
    (plan, *_) = plans
    hours = [
        max(
            plan.minimum_step_minutes / 60,
            step.minimum_samples / (DEMO_REQUESTS_PER_HOUR * step.weight_bp / 10_000),
        )
        for step in plan.steps
    ]
    assert sum(hours) + plan.watch_hours < 1.0
    assert all(least < step.deadline_hours for least, step in zip(hours, plan.steps, strict=True))
