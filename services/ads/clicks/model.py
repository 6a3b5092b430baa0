"""The model: a logistic regression over what is known when an advertisement is about to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from streamrec.contracts.errors import ArtifactError

WEIGHTS_FILE: Final = "weights.npz"
FEATURES: Final = ("relevance", "ads_seen_today", "seconds_since_start")
"""How well advertisement and content fit, how many the user has seen today, how far the session has come."""


@dataclass(frozen=True)
class ClickModel:
    """A trained model.

    Attributes:
        means, scales: Of the features in training, shape (features,); what is weighted is their distance from
            the mean in scales.
        weights: Shape (features,).
        bias: Added to every sum.
    """

    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float

    def probabilities(self, requests: pd.DataFrame) -> NDArray[np.float64]:
        """Shape (requests,): how likely each is clicked."""
        features = (requests[list(FEATURES)].to_numpy(dtype=np.float64) - self.means) / self.scales
        result: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-(features @ self.weights + self.bias)))
        return result

    def save(self, folder: Path) -> None:
        """Write the artifact into ``folder``, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            folder / WEIGHTS_FILE,
            means=self.means,
            scales=self.scales,
            weights=self.weights,
            bias=np.float64(self.bias),
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: It is not there, or not a model of this kind.
        """
        path = folder / WEIGHTS_FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                means, scales, weights = (
                    np.asarray(file[name], dtype=np.float64) for name in ("means", "scales", "weights")
                )
                bias = float(file["bias"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} holds no click model: {error}") from error
        if any(array.shape != (len(FEATURES),) for array in (means, scales, weights)):
            raise ArtifactError(f"{path} must hold {len(FEATURES)} numbers of each kind: one for a feature")
        if not np.isfinite([*means, *scales, *weights, bias]).all() or (scales <= 0.0).any():
            raise ArtifactError(f"{path} holds a number that is none, or a scale that is not positive")
        return cls(means, scales, weights, bias)
