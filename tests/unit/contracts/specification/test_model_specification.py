"""`model.yaml`: ten lines are enough, and what is wrong is refused with its path and what to do."""

from __future__ import annotations

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.contracts.specification.quality_policy import METRICS_OF_TASK, QualityMetric, Task

TEN_LINES = b"""\
name: ads-clicks
owner: ads
slot: ads.clicks
task: classification
predictor: services.ads.click_predictor:load
evaluation:
  requests: evaluation.parquet
quality: {floor: 0.65}
fairness:
  attributes: [country]
"""


def changed(before: str, after: str) -> bytes:
    text = TEN_LINES.decode()
    assert before in text
    return text.replace(before, after).encode()


def test_ten_lines_are_enough():
    assert len(TEN_LINES.splitlines()) == 10
    read = ModelSpecification.from_yaml(TEN_LINES)
    assert read.quality_metric is QualityMetric.ROC_AUC
    assert read.rollout.steps[-1].weight_bp == 10_000
    assert read.people("anything").fairness is not None
    again = ModelSpecification.from_json(read.to_json())
    assert again == read
    assert again.digest == read.digest


def test_the_digest_is_of_what_is_said_and_not_of_how_it_is_written():
    read = ModelSpecification.from_yaml(TEN_LINES)
    other = ModelSpecification.from_yaml(b"# a comment\n" + changed("{floor: 0.65}", "{floor: 0.650}"))
    assert other.digest == read.digest
    assert ModelSpecification.from_yaml(changed("0.65", "0.66")).digest != read.digest


@pytest.mark.parametrize(
    ("before", "after", "field", "words"),
    [
        ("quality", "qualiti", "qualiti", "did you mean 'quality'"),
        ("floor", "flor", "quality.flor", "did you mean 'floor'"),
        ("owner: ads", "owner: ads\nlatenci: {p99_ms: 5}", "latenci", "did you mean 'latency'"),
        ("floor: 0.65", "margin: .nan", "quality.margin", "finite"),
        ("floor: 0.65", "margin: .inf", "quality.margin", "finite"),
        ("floor: 0.65", "margin: 1.5", "quality.margin", "less than 1"),
        ("floor: 0.65", "metric: auc", "quality.metric", "'roc_auc'"),
        ("floor: 0.65", "metric: ndcg", "quality.metric", "fits classification"),
        ("[country]", "[]", "fairness.attributes", "at least 1"),
        ("[country]", '["a=b"]', "fairness.attributes.0", "pattern"),
        ("[country]", "[country]\n  metrics: {tprr: 0.1}", "fairness.metrics.tprr", "'tpr'"),
        ("evaluation.parquet", "../x.parquet", "evaluation.requests", "inside the model's folder"),
        ("evaluation.parquet", "/etc/x.csv", "evaluation.requests", "inside the model's folder"),
        ("evaluation.parquet", "evaluation.pkl", "evaluation.requests", "pattern"),
        ("ads.clicks", "Ads", "slot", "pattern"),
        ("ads-clicks", "a..b", "name", "pattern"),
        ("owner: ads\n", "", "owner", "is missing"),
        ("fairness:\n  attributes: [country]", "unit: user", "fairness", "no_sensitive_attributes"),
        ("owner: ads", "owner: ads\nno_sensitive_attributes: none", "fairness", "one of the two"),
        ("owner: ads", "owner: ads\ndata_sets: {world: {}}", "data_sets.world.fairness", "one of the two"),
        ("owner: ads", "owner: ads\nreview: {roles: [spoke]}", "review.roles.0", "reviewer"),
        ("owner: ads", "owner: ads\nlatency: {p99_ms: 0}", "latency.p99_ms", "greater than 0"),
    ],
)
def test_what_is_wrong_is_refused_with_its_path_and_a_remedy(before, after, field, words):
    with pytest.raises(InvalidInputError) as refused:
        ModelSpecification.from_yaml(changed(before, after))
    assert refused.value.field == field
    assert words in refused.value.problem


@pytest.mark.parametrize(
    ("plan", "field", "words"),
    [
        ("{steps: [{weight_bp: 100}, {weight_bp: 100}]}", "rollout.steps.1.weight_bp", "every step grows"),
        ("{steps: [{weight_bp: 500}, {weight_bp: 100}]}", "rollout.steps.1.weight_bp", "every step grows"),
        ("{steps: [{weight_bp: 5000}]}", "rollout.steps.0.weight_bp", "never end"),
        ("{requests_per_hour: 10}", "rollout.steps.0.deadline_hours", "samples do not come sooner"),
        (
            "{steps: [{weight_bp: 10000, deadline_hours: 1}], minimum_step_minutes: 90}",
            "rollout.steps.0.deadline_hours",
            "minimum_step_minutes",
        ),
        ("{deadline_hours: 10, shadow_hours: 12}", "rollout.deadline_hours", "cannot be done sooner"),
    ],
)
def test_a_plan_that_can_never_decide_is_refused(plan, field, words):
    with pytest.raises(InvalidInputError) as refused:
        ModelSpecification.from_yaml(TEN_LINES + f"rollout: {plan}\n".encode())
    assert refused.value.field == field
    assert words in refused.value.problem


def test_a_plan_whose_samples_come_in_time_is_taken():
    read = ModelSpecification.from_yaml(TEN_LINES + b"rollout: {requests_per_hour: 1e5}\n")
    assert read.rollout.least_hours(read.rollout.steps[0]) == pytest.approx(1.0)


def test_people_differ_by_data_set():
    rules = b"""\
data_sets:
  movielens: {no_sensitive_attributes: MovieLens says nothing of its users}
"""
    read = ModelSpecification.from_yaml(TEN_LINES + rules)
    assert read.people("movielens").fairness is None
    assert read.people("movielens").no_sensitive_attributes.startswith("MovieLens")
    assert read.people("world").fairness == read.fairness
    only = changed("fairness:\n  attributes: [country]\n", "") + rules
    with pytest.raises(InvalidInputError, match="what holds for 'world'"):
        ModelSpecification.from_yaml(only).people("world")


def test_every_task_has_a_metric():
    assert set(METRICS_OF_TASK) == set(Task)
    assert {metric for metrics in METRICS_OF_TASK.values() for metric in metrics} == set(QualityMetric)
