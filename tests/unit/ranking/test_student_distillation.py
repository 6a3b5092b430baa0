"""What the teacher is asked, what is kept of it, and the loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from services.recommendations.contracts.candidates import Segment
from services.recommendations.ranking.candidate_features import CandidateTables
from services.recommendations.ranking.settings import FeatureSettings
from services.recommendations.ranking.student.distillation import distillation_loss
from services.recommendations.ranking.student.features import FeatureScorer, FeatureTables
from services.recommendations.ranking.student.labels import draw_windows, label
from services.recommendations.ranking.student.settings import (
    DistillationSettings,
    StudentNetworkSettings,
    StudentSettings,
)
from streamrec.contracts.errors import InvalidInputError, PermanentError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.training.splits import UserHistories

ITEMS = 30


def sequences(lists: list[list[int]]) -> UserHistories:
    return UserHistories(
        user_ids=tuple(f"u{user}" for user in range(len(lists))),
        offsets=np.cumsum([0, *map(len, lists)]).astype(np.int64),
        items=np.concatenate([np.array(items, dtype=np.int32) for items in lists]),
        timestamps=np.zeros(sum(map(len, lists)), dtype=np.int64),
    )


TABLES = CandidateTables.fit(
    sequences([list(range(ITEMS))]),
    Catalogue(
        item_ids=tuple(f"i{item}" for item in range(ITEMS)),
        titles=("",) * ITEMS,
        creator_ids=tuple(f"c{item // 3}" for item in range(ITEMS)),
        creator_languages=("unknown",) * ITEMS,
        topics=((),) * ITEMS,
        published_at=np.full(ITEMS, "NaT", dtype="datetime64[s]"),
    ),
    FeatureSettings(),
)


class CountingTeacher:
    """Scores an item by its row, and by how often it stands in the history; remembers what it was asked."""

    def __init__(self):
        self.item_ids = tuple(f"i{item}" for item in range(ITEMS))
        self.vectors = np.zeros((ITEMS, 4), dtype=np.float32)
        self.tables = TABLES
        self.feature_weights = {"transition_from_last": 0.3, "creator_affinity": 0.5}
        self.asked = []

    def prefix_scores(self, history, segment, lengths):
        self.asked.append((history.tolist(), segment, lengths.tolist()))
        return np.stack(
            [np.arange(ITEMS) - 100.0 * np.bincount(history[:length], minlength=ITEMS) for length in lengths]
        ).astype(np.float32)


SETTINGS = DistillationSettings(
    minimum_labels=40, labels_per_window=4, windows_per_step=3, top_count=5, sample_count=10
)


def labelled(train: UserHistories, settings: DistillationSettings = SETTINGS, teacher=None, seed=0):
    rng = np.random.default_rng(seed)
    windows = draw_windows(train, settings, label_count=40, history_length=6, rng=rng)
    segments = [Segment(language=user_id) for user_id in train.user_ids]
    teacher = teacher or CountingTeacher()
    features = FeatureScorer(FeatureTables.of(teacher.tables, teacher.feature_weights), 4)
    return windows, label(teacher, train, windows, segments, features, settings, rng, SilentProgress())


def test_loss_is_the_divergence_worked_out_by_hand():
    p = np.array([0.5, 0.3, 0.2])
    q = np.array([0.2, 0.2, 0.6])
    by_hand = float((p * np.log(p / q)).sum())
    teacher, student = torch.tensor(np.log(p))[None] + 7.0, torch.tensor(np.log(q))[None] - 3.0
    none = torch.zeros(1, 3, dtype=torch.float64)
    assert float(distillation_loss(teacher, student, none, 1.0)) == pytest.approx(by_hand)
    # At T the distributions are those of the scores over T, and the loss is scaled back by T squared.
    assert float(distillation_loss(2 * teacher, 2 * student, none, 2.0)) == pytest.approx(4 * by_hand)
    assert float(distillation_loss(teacher, teacher + 1.0, none, 1.0)) == pytest.approx(0.0, abs=1e-12)


def test_an_item_that_stands_for_three_weighs_as_three_items():
    teacher, student = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.tensor([[0.5, 2.0, 2.0, 2.0]])
    whole = distillation_loss(teacher, student, torch.zeros(1, 4), 1.0)
    counts = torch.tensor([[0.0, float(np.log(3.0))]])
    assert float(distillation_loss(teacher[:, :2], student[:, :2], counts, 1.0)) == pytest.approx(
        float(whole)
    )


def test_what_is_absent_neither_counts_nor_breaks_the_gradient():
    teacher = torch.tensor([[1.0, 0.0, -torch.inf]])
    student = torch.tensor([[0.0, 1.0, 5.0]], requires_grad=True)
    loss = distillation_loss(teacher, student, torch.zeros(1, 3), 1.0)
    loss.backward()
    expected = distillation_loss(teacher[:, :2], student[:, :2].detach(), torch.zeros(1, 2), 1.0)
    assert float(loss.detach()) == pytest.approx(float(expected))
    assert torch.isfinite(student.grad).all()
    assert float(student.grad[0, 2]) == 0.0


def test_the_sample_estimates_the_whole_distribution():
    rng = np.random.default_rng(5)
    teacher, student = rng.normal(size=(2, 2000))
    whole = float(distillation_loss(*(torch.tensor(x)[None] for x in (teacher, student, 0 * teacher)), 1.0))
    estimates = []
    for _ in range(200):
        best = np.argsort(-teacher)[:200]
        others = np.setdiff1d(np.arange(2000), best)
        sample = rng.choice(others, 300, replace=False)
        kept = np.concatenate((best, sample))
        counts = np.concatenate((np.zeros(200), np.full(300, np.log(others.size / 300))))
        estimates.append(
            float(
                distillation_loss(
                    *(torch.tensor(x)[None] for x in (teacher[kept], student[kept], counts)), 1.0
                )
            )
        )
    assert np.mean(estimates) == pytest.approx(whole, rel=0.02)


def test_windows_lie_within_one_train_sequence_and_their_whole_is_labelled():
    train = sequences([[1, 2, 3], list(range(20)), [4], []])
    windows, _ = labelled(train)
    assert len(windows) == 10
    for user, start, end, lengths in zip(
        windows.users, windows.starts, windows.ends, windows.prefix_lengths, strict=True
    ):
        assert train.offsets[user] <= start < end <= train.offsets[user + 1]
        assert end - start <= 6
        assert lengths.max() == end - start
        assert (np.diff(lengths) >= 0).all()
    assert (np.isin(windows.ends, train.offsets[1:])).sum() >= 2


def test_the_teacher_is_asked_about_train_histories_with_their_users_segment():
    train, teacher = sequences([[1, 2, 3], list(range(10, 20))]), CountingTeacher()
    labelled(train, teacher=teacher)
    for history, segment, _ in teacher.asked:
        user = int(segment.language.removeprefix("u"))
        text = ",".join(map(str, train.of(user)))
        assert ",".join(map(str, history)) in text


def test_labels_hold_the_best_unseen_items_and_what_the_sample_stands_for():
    train = sequences([[29, 28, 1, 2], [5, 6, 7, 8, 9, 10, 11, 12]])
    _, steps = labelled(train)
    for step in steps:
        windows = np.repeat(np.arange(len(step.items)), step.lengths.shape[1])
        for at, (window, length) in enumerate(zip(windows, step.lengths.ravel(), strict=True)):
            seen = set(step.items[window, :length].tolist())
            unseen = [item for item in range(ITEMS - 1, -1, -1) if item not in seen]
            assert step.top[at].tolist() == unseen[:5]
            np.testing.assert_allclose(step.top_scores[at], np.array(unseen[:5]) - unseen[0])
            counted = np.isfinite(step.sample_scores[at])
            assert set(step.sample[counted].tolist()) == set(step.sample.tolist()) & set(unseen[5:])
            np.testing.assert_allclose(
                np.exp(step.sample_log_counts[at]) * counted.sum(), len(unseen) - 5, rtol=1e-5
            )


def test_labels_hold_the_features_part_of_the_same_items_and_prefixes():
    train, teacher = sequences([[29, 28, 1, 2], [5, 6, 7, 8, 9, 10, 11, 12]]), CountingTeacher()
    _, steps = labelled(train, teacher=teacher)
    features = FeatureScorer(FeatureTables.of(teacher.tables, teacher.feature_weights), 4)
    varied = 0.0
    for step in steps:
        windows = np.repeat(np.arange(len(step.items)), step.lengths.shape[1])
        for at, (window, length) in enumerate(zip(windows, step.lengths.ravel(), strict=True)):
            every = features.scores(step.items[window, :length], Segment(), np.arange(ITEMS))
            kept = np.concatenate((every[step.top[at]], every[step.sample]))
            np.testing.assert_allclose(step.top_features[at], kept[:5] - kept.max(), atol=1e-5)
            np.testing.assert_allclose(step.sample_features[at], kept[5:] - kept.max(), atol=2e-3)
            varied = max(varied, float(np.ptp(kept)))
    assert varied > 0.5


def test_a_teacher_of_features_alone_leaves_the_network_nothing_to_learn():
    train = sequences([[1, 2, 3, 4, 5, 6], [5, 6, 7, 8, 9, 10, 11, 12]])

    class OfFeatures(CountingTeacher):
        def prefix_scores(self, history, segment, lengths):
            features = FeatureScorer(FeatureTables.of(self.tables, self.feature_weights), 4)
            every = np.arange(ITEMS)
            return np.stack([features.scores(history[:length], segment, every) for length in lengths])

    teacher = OfFeatures()
    _, steps = labelled(train, teacher=teacher)
    for step in steps:
        present = np.isfinite(step.sample_scores)
        offset = step.top_scores[:, :1] - step.top_features[:, :1]
        np.testing.assert_allclose(step.top_scores, step.top_features + offset, atol=1e-5)
        differences = np.where(present, step.sample_scores - step.sample_features - offset, 0.0)
        np.testing.assert_allclose(differences, 0.0, atol=1e-2)


def test_scores_that_are_not_finite_are_refused_with_the_user():
    class Broken(CountingTeacher):
        def prefix_scores(self, history, segment, lengths):
            scores = super().prefix_scores(history, segment, lengths)
            scores[0, 3] = np.nan
            return scores

    with pytest.raises(PermanentError, match="'u0'"):
        labelled(sequences([[1, 2, 3]]), teacher=Broken())


def test_the_number_of_labels_is_bounded_by_data_catalogue_and_budget():
    settings = DistillationSettings(label_share=0.1, score_budget=1_000_000, minimum_labels=500)
    assert settings.label_count(100_000, 10) == 10_000
    assert settings.label_count(100_000, 1_000) == 1_000
    assert settings.label_count(2_000, 10) == 500
    assert settings.label_count(100, 10) == 100
    assert settings.label_count(100, 10_000_000) == 1


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: StudentSettings(network=StudentNetworkSettings(dimension=30)), "network.dimension"),
        (lambda: StudentSettings(network=StudentNetworkSettings(newest_count=0)), "network.newest_count"),
        (lambda: StudentSettings(network=StudentNetworkSettings(table_length=0)), "network.table_length"),
        (lambda: StudentSettings(distillation=replace(SETTINGS, epochs=0)), "distillation.epochs"),
        (lambda: StudentSettings(distillation=replace(SETTINGS, temperature=0.0)), "temperature"),
        (lambda: StudentSettings(distillation=replace(SETTINGS, input_rate=1.1)), "input_rate"),
        (lambda: StudentSettings(distillation=replace(SETTINGS, whole_share=1.5)), "whole_share"),
        (
            lambda: StudentSettings(distillation=replace(SETTINGS, learning_rate=float("nan"))),
            "learning_rate",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(make, field):
    with pytest.raises(InvalidInputError, match=field):
        make()
