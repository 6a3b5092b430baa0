"""An interrupted training run goes on from its last checkpoint and ends where it would have ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.recommendations.ranking.checkpoints import CHECKPOINT_FILE, Checkpoint, Checkpoints
from services.recommendations.ranking.content import ContentTable
from services.recommendations.ranking.network import SequenceNetwork
from services.recommendations.ranking.optimisation import NetworkTraining
from services.recommendations.ranking.settings import (
    NetworkSettings,
    OptimisationSettings,
    PhaseSettings,
    RankingSettings,
)
from services.recommendations.ranking.train import (
    LEARNING_CURVE_FILE,
    clear_checkpoints,
    train,
    training_device,
)
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.progress import SilentProgress
from streamrec.training.splits import UserHistories

ITEM_COUNT = 30
PHASE = PhaseSettings(
    interaction_budget=4_000,
    maximum_epochs=4,
    patience=10,
    batch_interactions=200,
    learning_rate=1e-2,
    weight_decay=0.01,
)
OPTIMISATION = OptimisationSettings(pools=PHASE, joint=replace(PHASE, learning_rate=5e-3))


class KilledError(Exception):
    """Stands for the end of the process."""


class Notes(SilentProgress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def advance(self, steps: int = 1, note: str = "") -> None:
        super().advance(steps, note)
        self.notes.append(note)


class Validation:
    """Measures something that changes with the weights, and ends the process when it is told to."""

    def __init__(self, dies_at: int | None) -> None:
        self.calls = 0
        self._dies_at = dies_at

    def __call__(self, network: SequenceNetwork, ordered: bool) -> float:
        if self.calls == self._dies_at:
            raise KilledError
        self.calls += 1
        with torch.inference_mode():
            return float(network.item_vectors().std()) + float(ordered)


def data() -> UserHistories:
    rng = np.random.default_rng(2)
    lengths = rng.integers(2, 40, size=40)
    return UserHistories(
        user_ids=tuple(f"u{user}" for user in range(40)),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=rng.integers(ITEM_COUNT, size=int(lengths.sum())).astype(np.int32),
        timestamps=np.zeros(int(lengths.sum()), dtype=np.int64),
    )


def run(
    folder: Path | None, validate: Callable[[SequenceNetwork, bool], float]
) -> tuple[SequenceNetwork, NetworkTraining]:
    torch.manual_seed(11)
    content = ContentTable(
        np.zeros((ITEM_COUNT, 1), dtype=np.int64), np.zeros((ITEM_COUNT, 1), dtype=np.float32), 1
    )
    settings = NetworkSettings(dimension=8, history_length=6, dropout=0.2)
    network = SequenceNetwork(content, np.ones(ITEM_COUNT, dtype=np.int64), (), settings)
    learning = NetworkTraining(
        network,
        data(),
        np.zeros((40, 0), dtype=np.int64),
        OPTIMISATION,
        history_length=6,
        validate=validate,
        rng=np.random.default_rng(5),
        progress=SilentProgress(),
        checkpoints=None if folder is None else Checkpoints(folder, "run"),
    )
    learning.fit_pools()
    learning.fit_jointly()
    return network, learning


@pytest.mark.parametrize("dies_at", [1, 3, 4, 6])
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path: Path, dies_at: int):
    uninterrupted = Validation(None)
    expected, whole = run(None, uninterrupted)
    with pytest.raises(KilledError):
        run(tmp_path / "run", Validation(dies_at))
    validation = Validation(None)
    resumed, learning = run(tmp_path / "run", validation)
    assert validation.calls == uninterrupted.calls - dies_at, "an epoch was trained again, or left out"
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert learning.best_epochs == whole.best_epochs
    points = [(point.phase, point.epoch, point.loss, point.validation_ndcg) for point in learning.curve]
    assert points == [(point.phase, point.epoch, point.loss, point.validation_ndcg) for point in whole.curve]


def test_a_run_that_was_over_is_not_trained_again(tmp_path: Path):
    expected, _ = run(tmp_path / "run", Validation(None))
    validation = Validation(None)
    again, _ = run(tmp_path / "run", validation)
    assert validation.calls == 0
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_the_checkpoint_stays_until_the_artifact_is_safe_and_the_learning_curve_for_good(
    training: TrainingInput, settings: RankingSettings, tmp_path: Path
):
    folder = tmp_path / "checkpoints"
    train(replace(training, checkpoints=folder), settings, tmp_path / "ranker")
    assert (folder / CHECKPOINT_FILE).is_file()
    clear_checkpoints(folder)
    assert not folder.exists()
    assert (tmp_path / "ranker" / LEARNING_CURVE_FILE).is_file()


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(
    training: TrainingInput, settings: RankingSettings, tmp_path: Path
):
    folder = tmp_path / "checkpoints"
    # Were it read, training would fail: it holds nothing of a run.
    Checkpoints(folder, "other").save(Checkpoint({}, {"network.a": torch.zeros(1)}))
    assert (folder / CHECKPOINT_FILE).is_file()
    progress = Notes()
    spec = train(replace(training, checkpoints=folder, progress=progress), settings, tmp_path / "ranker")
    assert any("another run" in note for note in progress.notes)
    assert spec.metrics["validation_ndcg_at_10"] > 0.0


@pytest.mark.parametrize("name", ["cuda:99", "toaster", ""])
def test_a_device_that_is_not_there_is_refused_by_name(name: str):
    with pytest.raises(InvalidInputError, match="device") as refusal:
        training_device(name)
    assert repr(name) in str(refusal.value)
