from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from services.recommendations.contracts.candidates import UserState
from services.recommendations.evaluation.call_latency import WARM_UP_CALLS, time_calls
from services.recommendations.evaluation.distillation import measure_distillation
from services.recommendations.evaluation.index_search import measure_index
from services.recommendations.evaluation.learning_curves import read_learning_curve
from services.recommendations.evaluation.stage_latency import ranking_requests
from services.recommendations.item_index.index import IndexSettings, ItemIndex
from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.training.evaluation import ModelEvaluation


def evaluation(ranks):
    ranks = np.array(ranks, dtype=np.int32)
    users = np.arange(len(ranks), dtype=np.int32)
    return ModelEvaluation("test", users, ranks, 0, {}, (), ())


class Ranker:
    def __init__(self, work=0):
        self.work, self.calls = work, 0

    def rank(self, _user, candidates):
        self.calls += 1
        return sum(range(self.work)) and candidates


def test_calls_are_timed_one_by_one_after_a_warm_up():
    seen, ticks = [], iter(np.cumsum([0.0, 0.001] * 100).tolist())
    found = time_calls("call", seen.append, list(range(20)), clock=lambda: next(ticks))
    assert seen == [*range(WARM_UP_CALLS), *range(20)]
    assert found.median_ms == pytest.approx(1.0)
    assert found.count == 20
    with pytest.raises(InvalidInputError, match="inputs"):
        time_calls("call", seen.append, [])


def test_calls_are_timed_with_one_thread():
    found, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        time_calls("call", lambda _: found.append(torch.get_num_threads()), [None])
    finally:
        torch.set_num_threads(before)
    assert set(found) == {1}


def test_a_student_is_compared_with_its_teacher_on_the_same_users():
    requests = ranking_requests(
        [UserState(f"u{n}") for n in range(30)], [f"i{n}" for n in range(600)], seed=1
    )
    assert {len(candidates) for _, candidates in requests} == {500}
    teacher, student = evaluation([0, 0, 2, -1] * 20), evaluation([0, 0, -1, -1] * 20)
    found = measure_distillation((Ranker(100), student), (Ranker(20_000), teacher), requests, seed=1)
    assert found.ndcg_share.value == pytest.approx(2 / 2.5)
    assert found.ndcg_share.low < 0.8 < found.ndcg_share.high
    assert found.ndcg_difference.value == pytest.approx(-0.125)
    assert found.time_share < 0.5
    assert json.dumps(found.to_json(), allow_nan=False)
    other = replace(student, users=student.users + 1)
    with pytest.raises(InvalidInputError, match="same users"):
        measure_distillation((Ranker(), other), (Ranker(), teacher), requests, seed=1)


def test_an_index_is_compared_with_exact_search():
    rng = np.random.default_rng(0)
    names = tuple(f"i{row}" for row in range(10_000))
    vectors = rng.normal(size=(10_000, 16)).astype(np.float32)
    exact = ItemIndex.build(names, vectors, IndexSettings(exact_limit=10_000))
    lists = ItemIndex.build(names, vectors, IndexSettings(exact_limit=0, list_count=200, probe_count=1))
    queries = list(rng.normal(size=(20, 16)).astype(np.float32))
    found = measure_index(lists, exact, queries, seed=1)
    true = [set(exact.search(query, 500).item_ids) for query in queries]
    shares = [
        len(set(lists.search(query, 500).item_ids) & t) / 500 for query, t in zip(queries, true, strict=True)
    ]
    assert found.recall.value == pytest.approx(np.mean(shares))
    assert found.recall.value < 1.0
    assert not found.is_exact
    itself = measure_index(exact, exact, queries, seed=1)
    assert itself.is_exact
    assert (itself.recall.value, itself.time_share) == (1.0, 1.0)
    with pytest.raises(InvalidInputError, match="same items"):
        measure_index(lists, ItemIndex.build(names[:100], vectors[:100]), queries, seed=1)


def test_a_learning_curve_is_read_as_training_wrote_it(tmp_path):
    assert read_learning_curve(tmp_path) == ()
    path = tmp_path / "learning_curve.json"
    points = [
        {"phase": "joint", "epoch": 1, "loss": 5.5, "validation_ndcg": 0.1, "seconds": 3.0},
        {"phase": "joint", "epoch": 2, "loss": 4.5, "validation_ndcg": None, "seconds": 3.0},
    ]
    path.write_text(json.dumps(points))
    assert [point.to_json() for point in read_learning_curve(tmp_path)] == points


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '[{"phase": "a"}]', '[{"epoch": 1, "loss": NaN}]', '[{"epoch": "x"}]', "[" * 9999],
)
def test_a_damaged_learning_curve_is_refused(tmp_path, text):
    (tmp_path / "learning_curve.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"learning_curve\.json"):
        read_learning_curve(tmp_path)
