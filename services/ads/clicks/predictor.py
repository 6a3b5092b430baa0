"""The model as the gates ask it: one score a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from services.ads.clicks.model import ClickModel


@dataclass(frozen=True)
class ClickPredictor:
    """Implements `streamrec.gates.predictor.Predictor`.

    Attributes:
        model: What answers.
    """

    model: ClickModel

    def predict(self, requests: pd.DataFrame) -> pd.DataFrame:
        """Column ``score``: how likely the advertisement is clicked."""
        return pd.DataFrame({"score": self.model.probabilities(requests)})


def load(artifact: Path, needs: Mapping[str, Path]) -> ClickPredictor:
    """Load a version; it needs no other model."""
    del needs
    return ClickPredictor(ClickModel.load(artifact))
