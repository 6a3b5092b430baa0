"""What every stage's ``train`` is given, and the names that models are registered under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from services.recommendations.contracts.stages import MODEL_NAMES
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.training.splits import Split

RANKING_TEACHER: Final = "ranking_teacher"
"""The stage that is trained and does not serve: what `ranking` is distilled from."""

TRAINED_MODEL_NAMES: Final[Mapping[str, str]] = {
    "retrieval": MODEL_NAMES["retrieval"],
    RANKING_TEACHER: "recommendations-ranking-teacher",
    **MODEL_NAMES,
}
"""Registered model name of each stage that is trained; each comes after those that it needs."""


@dataclass(frozen=True)
class TrainingInput:
    """What a training run is given.

    Attributes:
        dataset: The data.
        split: Its leave-last-out split.
        seed: Of every random draw.
        progress: Where progress is shown.
        device: Where networks are trained: ``cpu``, ``cuda`` or ``cuda:1``.
        checkpoints: Folder that belongs to this run alone: a long training goes on from what it finds there.
            No checkpoints are written where None.
    """

    dataset: Dataset
    split: Split
    seed: int
    progress: Progress
    device: str = "cpu"
    checkpoints: Path | None = None


def settings_fingerprint(settings: Any, seed: int) -> str:
    """SHA-256, hexadecimal, of a settings dataclass and a seed: another value or name, another fingerprint.

    Raises:
        TypeError: ``settings`` is no dataclass instance, or holds something that JSON cannot express.
        ValueError: ``settings`` holds a float that is not finite.
    """
    document = {"type": type(settings).__qualname__, "settings": asdict(settings), "seed": seed}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
