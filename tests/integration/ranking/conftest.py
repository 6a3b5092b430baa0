"""A ranker trained once on the small data set in which order matters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.settings import RankingSettings
from services.recommendations.ranking.train import train
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.models import ModelSpec
from tests.unit.ranking.conftest import dataset, settings, training

__all__ = ["dataset", "settings", "training"]


@pytest.fixture(scope="session")
def trained(
    training: TrainingInput, settings: RankingSettings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ModelSpec]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ranker")
    return folder, train(training, settings, folder)


@pytest.fixture(scope="session")
def model(trained: tuple[Path, ModelSpec]) -> RankingModel:
    return RankingModel.load(trained[0])
