"""The model: hashed character n-grams of a text, weighted, as a probability.

Hashing takes any script and keeps no vocabulary, so an artifact is one array (Weinberger et al. 2009,
"Feature hashing for large scale multitask learning").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from streamrec.contracts.errors import ArtifactError

WEIGHTS_FILE: Final = "weights.npz"
N_GRAM_LENGTHS: Final = (2, 4)
FEATURE_COUNT: Final = 2**16
MAXIMUM_CHARACTERS: Final = 10_000
"""Of a text; what stands behind them is not looked at."""


def n_gram_counts(texts: Sequence[str]) -> Any:
    """Shape (texts, `FEATURE_COUNT`), sparse, rows of unit length: the n-grams of each text."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=N_GRAM_LENGTHS, n_features=FEATURE_COUNT, alternate_sign=False
    )
    return vectorizer.transform([text[:MAXIMUM_CHARACTERS] for text in texts])


@dataclass(frozen=True)
class ToxicityModel:
    """A trained model.

    Attributes:
        weights: Shape (`FEATURE_COUNT`,), finite.
        bias: Added to every sum.
    """

    weights: NDArray[np.float32]
    bias: float

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Shape (texts,): how likely each text is hateful."""
        sums = n_gram_counts(texts) @ self.weights.astype(np.float64) + self.bias
        result: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-sums))
        return result

    def save(self, folder: Path) -> None:
        """Write the artifact into ``folder``, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / WEIGHTS_FILE, weights=self.weights, bias=np.float64(self.bias))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: It is not there, or not a model of this kind.
        """
        path = folder / WEIGHTS_FILE
        try:
            with np.load(path, allow_pickle=False) as arrays:
                weights, bias = arrays["weights"], float(arrays["bias"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} holds no toxicity model: {error}") from error
        if weights.shape != (FEATURE_COUNT,) or weights.dtype != np.float32:
            raise ArtifactError(f"{path} holds weights of shape {weights.shape} and type {weights.dtype}")
        if not (np.isfinite(weights).all() and np.isfinite(bias)):
            raise ArtifactError(f"{path} holds a weight that is no number")
        return cls(weights, bias)
