"""What every stage's ``train`` is given, and the names its model is registered under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.training.splits import Split

MODEL_NAMES: Final[Mapping[str, str]] = {
    "retrieval": "recommendations-retrieval",
    "ranking": "recommendations-ranking",
    "cold_start": "recommendations-cold-start",
    "reranking": "recommendations-reranking",
}
"""Registered model name by stage."""


@dataclass(frozen=True)
class TrainingInput:
    """One training run's data, split, seed and progress display."""

    dataset: Dataset
    split: Split
    seed: int
    progress: Progress
