"""Training on another device than the CPU.

Where there is no GPU, torch's ``meta`` device stands in for the steps: its tensors have a shape and no
content, and it refuses what mixes them with tensors of the CPU, as a GPU does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.recommendations.ranking.content import ContentTable
from services.recommendations.ranking.network import SequenceNetwork
from services.recommendations.ranking.optimisation import NetworkTraining
from services.recommendations.ranking.settings import NetworkSettings, OptimisationSettings, RankingSettings
from services.recommendations.ranking.train import train
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.progress import SilentProgress
from streamrec.training.splits import UserHistories

ITEM_COUNT = 5_000
"""More than are taken whole: negatives are sampled."""


@pytest.mark.parametrize("item_count", [40, ITEM_COUNT])
@pytest.mark.parametrize("phase", ["pools", "joint"])
def test_a_step_keeps_to_the_device_of_the_network(phase: str, item_count: int):
    rng = np.random.default_rng(1)
    lengths = np.array([9, 4, 12])
    sequences = UserHistories(
        user_ids=("a", "b", "c"),
        offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        items=rng.integers(item_count, size=25).astype(np.int32),
        timestamps=np.zeros(25, dtype=np.int64),
    )
    content = ContentTable(
        np.zeros((item_count, 1), dtype=np.int64), np.zeros((item_count, 1), dtype=np.float32), 1
    )
    settings = NetworkSettings(dimension=8, history_length=6)
    network = SequenceNetwork(content, np.ones(item_count, dtype=np.int64), (3,), settings).to("meta")
    learning = NetworkTraining(
        network.train(),
        sequences,
        np.ones((3, 1), dtype=np.int64),
        OptimisationSettings(),
        history_length=6,
        validate=lambda _network, _ordered: 0.0,
        rng=rng,
        progress=SilentProgress(),
    )
    losses = learning._pool_losses() if phase == "pools" else learning._joint_losses()
    loss, looked_at = next(iter(losses))
    loss.backward()
    assert looked_at > 0
    assert loss.device.type == "meta"
    assert network.identity.grad is not None
    assert network.identity.grad.device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_a_gpu_learns_what_the_cpu_learns(training: TrainingInput, settings: RankingSettings, tmp_path: Path):
    on_cpu = train(training, settings, tmp_path / "cpu").metrics
    on_gpu = train(replace(training, device="cuda"), settings, tmp_path / "gpu").metrics
    assert on_gpu["validation_ndcg_at_10"] == pytest.approx(on_cpu["validation_ndcg_at_10"], abs=0.05)
