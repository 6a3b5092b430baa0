from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.retrieval import batches as batches_module
from services.recommendations.retrieval.batches import Batches
from services.recommendations.retrieval.content import ContentVocabulary
from services.recommendations.retrieval.examples import NextItemExamples
from services.recommendations.retrieval.hard_negatives import HardNegatives
from services.recommendations.retrieval.model import TwoTowerRetriever, segment_values
from services.recommendations.retrieval.settings import RetrievalSettings
from services.recommendations.retrieval.towers import TwoTowers
from services.recommendations.retrieval.train import train
from services.recommendations.training.histories import segments_by_user
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.errors import InvalidInputError


@pytest.fixture(scope="module")
def retriever(
    training: TrainingInput, settings: RetrievalSettings, tmp_path_factory: pytest.TempPathFactory
) -> TwoTowerRetriever:
    folder = tmp_path_factory.mktemp("artifact")
    train(training, replace(settings, epoch_count=1, hard_negative_count=0), folder)
    return TwoTowerRetriever.load(folder)


def mine(retriever: TwoTowerRetriever, training: TrainingInput, width: int, users: int) -> HardNegatives:
    of_user = segments_by_user(training.dataset)
    return HardNegatives.mine(
        retriever,
        training.split.train,
        [of_user.get(user, Segment()) for user in training.split.train.user_ids],
        width=width,
        count=4,
        maximum_users=users,
        rng=np.random.default_rng(0),
    )


def test_a_window_is_what_the_model_would_show_without_what_the_user_took(retriever, training):
    mined = mine(retriever, training, 10, 1000)
    sequences, item_ids = training.split.train, training.split.catalogue.item_ids
    segments = segments_by_user(training.dataset)
    assert mined.windows.shape == (len(sequences), 10)
    for user in (0, 7, len(sequences) - 1):
        user_id = sequences.user_ids[user]
        history = tuple(item_ids[row] for row in sequences.of(user))
        answer = retriever.retrieve(UserState(user_id, segments[user_id], history), 10)
        assert tuple(item_ids[row] for row in mined.windows[user]) == answer.item_ids
        assert not set(mined.windows[user].tolist()) & set(sequences.of(user).tolist())


def test_mining_is_bounded_and_small_catalogues_leave_gaps(retriever, training):
    mined = mine(retriever, training, 300, 5)
    has_any = (mined.windows >= 0).any(axis=1)
    assert has_any.sum() == 5
    for user in np.flatnonzero(has_any):
        unseen = len(training.split.catalogue) - len(set(training.split.train.of(user).tolist()))
        assert (mined.windows[user] >= 0).sum() == unseen
    windows, drawn = mined.draw(np.flatnonzero(~has_any)[:3].astype(np.int32), torch.Generator())
    assert (windows == -1).all()
    assert (drawn == -1).all()


def test_draws_come_from_the_own_window(retriever, training):
    mined = mine(retriever, training, 10, 1000)
    users = np.array([3, 3, 9], dtype=np.int32)
    windows, drawn = mined.draw(users, torch.Generator().manual_seed(1))
    assert drawn.shape == (3, 4)
    for user, window, items in zip(users, windows, drawn, strict=True):
        assert window.tolist() == mined.windows[user].tolist()
        assert set(items.tolist()) <= set(window.tolist())
    assert mined.expected_count == 0.4


def test_every_negative_is_corrected_by_how_often_it_is_expected(retriever, training, settings, monkeypatch):
    """A second, plain count of what the loss is told."""
    catalogue, sequences = training.split.catalogue, training.split.train
    hard = mine(retriever, training, 10, 100)  # some users have none
    vocabulary = ContentVocabulary.build(catalogue, 2)
    values = segment_values([Segment()])
    generator = torch.Generator().manual_seed(0)
    towers = TwoTowers(vocabulary.encode(catalogue), vocabulary, values, settings, generator)
    examples = NextItemExamples.of(sequences)
    batches = Batches(
        examples,
        np.full((len(sequences), 4), -1),
        len(catalogue),
        settings,
        generator,
        np.random.default_rng(0),
        hard,
    )
    seen = {}
    monkeypatch.setattr(batches_module, "sampled_softmax_loss", lambda *given: seen.update(given=given))
    targets = np.bincount(sequences.items, minlength=len(catalogue)) / len(sequences.items)
    base = (settings.batch_size - 1) * targets + settings.uniform_negative_count / len(catalogue)
    chosen = np.arange(40, 40 + settings.batch_size)
    vectors = towers.item_vectors(torch.arange(len(catalogue)), torch.ones(len(catalogue), 1))
    batches.settings = replace(settings, item_dropout=0.0, history_dropout=0.0)
    batches._loss(towers, chosen)
    _, candidates, log_counts, _, _, own = seen["given"]
    items = (candidates @ vectors.T).argmax(dim=1).numpy()
    assert items[: len(chosen)].tolist() == examples.items[chosen].tolist()
    mined_some = mined_none = 0
    for place, user in enumerate(examples.users[chosen]):
        window = set(hard.windows[user].tolist()) - {-1}
        mined_some, mined_none = mined_some + bool(window), mined_none + (not window)
        expected = [base[item] + (hard.expected_count if item in window else 0.0) for item in items]
        np.testing.assert_allclose(log_counts[place].exp().numpy(), expected, rtol=1e-5)
        assert own.absent[place].all() == (not window)
        if window:
            drawn = (own.vectors[place] @ vectors.T).argmax(dim=1).tolist()
            assert set(drawn) <= window
            np.testing.assert_allclose(
                own.log_expected_counts[place].exp().detach().numpy(),
                [base[item] + hard.expected_count for item in drawn],
                rtol=1e-5,
            )
    assert mined_some
    assert mined_none


def test_training_mines_after_every_epoch_but_the_last(training, settings, tmp_path: Path, monkeypatch):
    calls = []
    real = HardNegatives.mine.__func__

    def counted(cls, *arguments, **named):
        calls.append(named["width"])
        return real(cls, *arguments, **named)

    monkeypatch.setattr(HardNegatives, "mine", classmethod(counted))
    train(training, replace(settings, epoch_count=3, hard_negative_window=20), tmp_path)
    assert calls == [20, 20]
    calls.clear()
    train(training, replace(settings, epoch_count=3, hard_negative_count=0), tmp_path)
    assert calls == []


def test_an_epoch_looks_at_a_share_of_much_data_and_is_bounded():
    settings = RetrievalSettings()
    counts = (10, 100_000, 200_000, 1_000_000, 100_000_000)
    assert [settings.examples_per_epoch(count) for count in counts] == [
        10,
        100_000,
        100_000,
        300_000,
        400_000,
    ]
    for field, value in (("epoch_share", 0.0), ("hard_negative_count", -1), ("hard_negative_window", 0)):
        with pytest.raises(InvalidInputError, match=f"retrieval.{field}"):
            RetrievalSettings(**{field: value})
