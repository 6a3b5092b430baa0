"""What every stage's ``train`` is given, and the names its model is registered under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

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


def settings_fingerprint(settings: Any, seed: int) -> str:
    """SHA-256, hexadecimal, of a settings dataclass and a seed: another value or name, another fingerprint.

    Raises:
        TypeError: ``settings`` is no dataclass instance, or holds something that JSON cannot express.
        ValueError: ``settings`` holds a float that is not finite.
    """
    document = {"type": type(settings).__qualname__, "settings": asdict(settings), "seed": seed}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
