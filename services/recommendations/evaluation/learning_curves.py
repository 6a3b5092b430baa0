"""Learning curves that training leaves in an artifact."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.errors import ArtifactError

LEARNING_CURVE_FILE: Final = "learning_curve.json"
_MAXIMUM_BYTES: Final = 8 * 1024 * 1024
_MAXIMUM_POINTS: Final = 10_000


@dataclass(frozen=True)
class CurvePoint:
    """The state after one epoch.

    Attributes:
        phase: Part of the training it belongs to.
        epoch: Its number.
        loss: Mean training loss; None where the phase has none.
        validation_ndcg: On validation items, to the depth that the trainer chooses by; None where it was not
            measured.
        seconds: Since training began, or that the epoch took; as the trainer says.
    """

    phase: str
    epoch: int
    loss: float | None
    validation_ndcg: float | None
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """As training writes it."""
        return {
            "phase": self.phase,
            "epoch": self.epoch,
            "loss": self.loss,
            "validation_ndcg": self.validation_ndcg,
            "seconds": self.seconds,
        }


def read_learning_curve(folder: Path) -> tuple[CurvePoint, ...]:
    """Read an artifact's curve; empty where its training writes none.

    Raises:
        ArtifactError: The file is damaged or too long.
    """
    path = folder / LEARNING_CURVE_FILE
    if not path.is_file():
        return ()
    if path.stat().st_size > _MAXIMUM_BYTES:
        raise ArtifactError(f"{path}: larger than {_MAXIMUM_BYTES} bytes")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(entries, list) or len(entries) > _MAXIMUM_POINTS:
            raise ArtifactError(f"{path}: not a list of at most {_MAXIMUM_POINTS} epochs")
        return tuple(_point(entry) for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"{path}: not a learning curve ({error!r})") from error


def _point(entry: Mapping[str, Any]) -> CurvePoint:
    return CurvePoint(
        phase=str(entry.get("phase", "")),
        epoch=int(entry["epoch"]),
        loss=_finite(entry.get("loss")),
        validation_ndcg=_finite(entry.get("validation_ndcg")),
        seconds=_finite(entry.get("seconds")),
    )


def _finite(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number
