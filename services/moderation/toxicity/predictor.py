"""The model as the gates ask it: one score a comment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from services.moderation.toxicity.model import ToxicityModel
from streamrec.gates.fairness.thresholds import THRESHOLDS_FILE, with_group_thresholds
from streamrec.gates.predictor import Predictor


@dataclass(frozen=True)
class ToxicityPredictor:
    """Implements `streamrec.gates.predictor.Predictor`.

    Attributes:
        model: What answers.
    """

    model: ToxicityModel

    def predict(self, requests: pd.DataFrame) -> pd.DataFrame:
        """Column ``score``: how likely the comment in ``text`` is hateful."""
        return pd.DataFrame({"score": self.model.probabilities(requests["text"].tolist())})


def load(artifact: Path, needs: Mapping[str, Path]) -> Predictor:
    """Load a version; it needs no other model. One with thresholds by language applies them."""
    del needs
    predictor = ToxicityPredictor(ToxicityModel.load(artifact))
    has_thresholds = (artifact / THRESHOLDS_FILE).is_file()
    return with_group_thresholds(predictor, artifact) if has_thresholds else predictor
