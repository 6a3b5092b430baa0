"""The student as a ranker, distilled once from the small teacher."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.student.artifact import ITEMS_FILE, SETTINGS_FILE, WEIGHTS_FILE
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.ranking.student.settings import (
    DistillationSettings,
    StudentNetworkSettings,
    StudentSettings,
)
from services.recommendations.ranking.student.train import train
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.models import ModelRef, ModelSpec
from streamrec.registry.file_formats.formats import check_formats
from streamrec.registry.manifest import scan
from streamrec.training.evaluation import evaluate

HISTORY = ("i03", "i04", "i05")
TEACHER = ModelRef("recommendations-ranking-teacher", 1)
SETTINGS = StudentSettings(
    network=StudentNetworkSettings(dimension=16, head_count=2, history_length=10, hidden_size=32),
    distillation=DistillationSettings(minimum_labels=600, epochs=12, windows_per_step=8, learning_rate=1e-2),
)


def distilled(training: TrainingInput, teacher: RankingModel, spec: ModelSpec, folder: Path) -> ModelSpec:
    return train(
        training, SETTINGS, folder, teacher=teacher, teacher_ref=TEACHER, teacher_metrics=spec.metrics
    )


@pytest.fixture(scope="module")
def student_version(
    training: TrainingInput,
    model: RankingModel,
    trained: tuple[Path, ModelSpec],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, ModelSpec]:
    folder = tmp_path_factory.mktemp("student")
    return folder, distilled(training, model, trained[1], folder)


@pytest.fixture(scope="module")
def student(student_version: tuple[Path, ModelSpec]) -> StudentRanker:
    return StudentRanker.load(student_version[0])


def everything(student: StudentRanker, history: tuple[str, ...] = ()) -> Candidates:
    return candidates(*(item for item in student.item_ids if item not in history))


def candidates(*item_ids: str) -> Candidates:
    return Candidates(item_ids, np.linspace(1.0, 0.0, len(item_ids), dtype=np.float32))


def test_keeps_what_the_teacher_knows(student_version, trained):
    kept, taught = student_version[1].metrics, trained[1].metrics
    assert kept["test_ndcg_at_10"] > 0.9 * taught["test_ndcg_at_10"]
    assert kept["test_ndcg_at_10_share_of_teacher"] == pytest.approx(
        kept["test_ndcg_at_10"] / taught["test_ndcg_at_10"]
    )
    assert student_version[1].name == "recommendations-ranking"
    assert student_version[1].parameters["teacher"] == str(TEACHER)


def test_orders_items_as_the_teacher_does(student, model):
    every = np.arange(60)
    correlations = []
    for start in range(0, 50, 5):
        history = np.array([start, start + 1, start + 2])
        pair = [ranker.scores(history, Segment(), every) for ranker in (student, model)]
        correlations.append(np.corrcoef(pair)[0, 1])
    assert np.mean(correlations) > 0.9


def test_the_same_seed_gives_the_same_student(student_version, training, model, trained, tmp_path):
    again = distilled(training, model, trained[1], tmp_path)
    assert again == student_version[1]
    first, second = load_file(student_version[0] / WEIGHTS_FILE), load_file(tmp_path / WEIGHTS_FILE)
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array)


def test_a_teacher_of_another_catalogue_is_refused(training, model, trained, tmp_path):
    class Other:
        item_ids = model.item_ids[::-1]
        vectors = model.vectors

    with pytest.raises(InvalidInputError, match="another catalogue"):
        distilled(training, Other(), trained[1], tmp_path)


def test_the_order_of_the_history_changes_the_answer(student):
    forward = student.rank(UserState("u", history=("i20", "i40")), everything(student))
    backward = student.rank(UserState("u", history=("i40", "i20")), everything(student))
    assert forward.item_ids.index("i41") < 5
    assert backward.item_ids.index("i21") < 5
    assert forward.item_ids != backward.item_ids


def test_returns_the_same_items_sorted_with_finite_scores(student):
    given = everything(student, HISTORY)
    ranked = student.rank(UserState("u", history=HISTORY), given)
    assert sorted(ranked.item_ids) == sorted(given.item_ids)
    assert np.isfinite(ranked.scores).all()
    assert (np.diff(ranked.scores) <= 0).all()
    assert ranked.scores.dtype == np.float32


def test_unknown_candidates_come_last_in_the_order_given(student):
    ranked = student.rank(UserState("u", history=HISTORY), candidates("new-b", "i06", "new-a", "i40"))
    assert ranked.item_ids[2:] == ("new-b", "new-a")
    assert set(ranked.item_ids[:2]) == {"i06", "i40"}
    only_unknown = student.rank(UserState("u", history=HISTORY), candidates("x", "w", "y"))
    assert only_unknown.item_ids == ("x", "w", "y")


def test_no_candidates_is_an_empty_answer(student):
    assert len(student.rank(UserState("u", history=HISTORY), candidates())) == 0


def test_unknown_items_of_the_history_are_ignored_and_older_ones_take_their_place(student):
    given = everything(student)
    known = tuple(f"i{item:02d}" for item in range(12))
    plain = student.rank(UserState("u", history=known), given)
    mixed = student.rank(UserState("u", history=(*known[:6], "gone", *known[6:], "gone")), given)
    np.testing.assert_array_equal(mixed.scores, plain.scores)
    assert mixed.item_ids == plain.item_ids


def test_empty_and_wholly_unknown_histories_get_the_same_answer(student):
    given = everything(student)
    empty = student.rank(UserState("u"), given)
    unknown = student.rank(UserState("u", history=("gone",)), given)
    np.testing.assert_array_equal(empty.scores, unknown.scores)
    assert np.isfinite(empty.scores).all()


def test_repeated_items_are_taken_as_they_come(student):
    once = student.rank(UserState("u", history=("i03",)), everything(student))
    often = student.rank(UserState("u", history=("i03",) * 50), everything(student))
    assert np.isfinite(often.scores).all()
    assert once.scores.tolist() != often.scores.tolist()


def test_of_ten_thousand_events_the_newest_count(student):
    pattern = tuple(f"i{step % 59:02d}" for step in range(10_000))
    given = everything(student)
    long = student.rank(UserState("u", history=pattern), given)
    cut = student.rank(UserState("u", history=pattern[-HISTORY_LIMIT:]), given)
    newest = student.rank(UserState("u", history=pattern[-student.history_length :]), given)
    np.testing.assert_array_equal(long.scores, cut.scores)
    np.testing.assert_array_equal(long.scores, newest.scores)


def test_full_ranking_agrees_with_ranking_candidates(student, training):
    histories, users = training.split.history, training.split.evaluated[:10]
    lists = student.top_items(users, histories, 15)
    for user, rows in zip(users, lists, strict=True):
        history = tuple(student.item_ids[row] for row in histories.of(int(user)))
        served = student.rank(UserState("u", history=history), everything(student, history))
        assert [student.item_ids[row] for row in rows] == list(served.item_ids[:15])
    evaluate(student, training.split, seed=0)


def test_what_is_saved_again_answers_the_same(student, tmp_path):
    student.save(tmp_path)
    user, given = UserState("u", history=HISTORY), everything(student)
    np.testing.assert_array_equal(
        StudentRanker.load(tmp_path).rank(user, given).scores, student.rank(user, given).scores
    )


@pytest.fixture
def folder(student_version, tmp_path: Path) -> Path:
    return Path(shutil.copytree(student_version[0], tmp_path / "copy"))


def test_the_registry_accepts_every_file(folder):
    check_formats(folder, scan(folder))


@pytest.mark.parametrize("name", [WEIGHTS_FILE, ITEMS_FILE, SETTINGS_FILE])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_file_is_refused(folder, name, damage):
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    with pytest.raises(ArtifactError, match="does not hold a readable student"):
        StudentRanker.load(folder)


@pytest.mark.parametrize(
    "name", ["outputs", "keys", "segments.0", "pool_weights", "features.transitions.values"]
)
def test_weights_that_are_not_finite_are_refused(folder, name):
    tensors = load_file(folder / WEIGHTS_FILE)
    tensors[name].flat[0] = np.nan
    save_file(tensors, folder / WEIGHTS_FILE)
    with pytest.raises(ArtifactError, match=name):
        StudentRanker.load(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dimension", 32),
        ("head_count", 3),
        ("history_length", 0),
        ("newest_count", 2),
        ("table_length", 0),
    ],
)
def test_sizes_that_do_not_fit_the_weights_are_refused(folder, key, value):
    document = json.loads((folder / SETTINGS_FILE).read_text())
    document["network"][key] = value
    (folder / SETTINGS_FILE).write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="does not hold a readable student"):
        StudentRanker.load(folder)


def test_another_format_and_repeated_items_are_refused(folder):
    document = json.loads((folder / SETTINGS_FILE).read_text())
    (folder / SETTINGS_FILE).write_text(json.dumps({**document, "format_version": 99}))
    with pytest.raises(ArtifactError, match="another version"):
        StudentRanker.load(folder)
    (folder / SETTINGS_FILE).write_text(json.dumps(document))
    np.savez(folder / ITEMS_FILE, item_ids=np.array(["i00"] * 60))
    with pytest.raises(ArtifactError, match="more than one row"):
        StudentRanker.load(folder)


def test_what_serves_does_not_import_torch():
    code = "import sys, services.recommendations.ranking.student.model; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
