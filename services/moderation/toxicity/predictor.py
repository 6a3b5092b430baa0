"""The model as the gates ask it: one score a comment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from services.moderation.toxicity.model import ToxicityModel


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


def load(artifact: Path, needs: Mapping[str, Path]) -> ToxicityPredictor:
    """Load a version; it needs no other model."""
    del needs
    return ToxicityPredictor(ToxicityModel.load(artifact))
